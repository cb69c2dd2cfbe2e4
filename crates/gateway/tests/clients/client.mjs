// OpenAI's own client for JavaScript, as client.py starts it. What it saw is printed as JSON.

import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY, maxRetries: 0 });
const pictures = { prompt: "a ring", size: "64x96" };

const { data: [picture] } = await client.images.generate({ ...pictures, model: "gpt-image-1" });
const { data: [linked] } = await client.images.generate({ prompt: "a ring", model: "dall-e-3" });
const streamed = [];
for await (const event of await client.images.generate({ ...pictures, model: "gpt-image-1", stream: true })) {
  streamed.push(event.type);
}
const refused = await client.images.generate({ prompt: "a ring", size: "big" }).then(
  () => null,
  ({ status, param }) => ({ status, param }),
);
console.log(JSON.stringify({ b64_json: picture.b64_json, url: linked.url, streamed, refused }));
