"""Clients of OpenAI's protocol, unchanged, against `atelier serve`: OpenAI's own for Python and for JavaScript, LiteLLM and
LangChain's picture tool.

    python3 -m venv venv && venv/bin/pip install -r requirements.txt
    npm ci
    venv/bin/python client.py PATH/TO/atelier
"""

import asyncio
import base64
import datetime
import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import unittest
import urllib.request

# What models cost is of no interest here, and is not asked for.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
import openai
from langchain_community.utilities.dalle_image_generator import DallEAPIWrapper


def digest(key):
    return hashlib.sha256(key.encode()).hexdigest()


# Fast painters; ann operates them, and bob may ask for three pictures a minute.
CONFIGURATION = f"""
journal = "journal.db"
[defaults]
width = 64
height = 64
due_in_seconds = 30.0
[limits]
side = 256
[[key]]
name = "ann"
sha256 = "{digest('sk-ann')}"
requests_per_minute = 1000
operator = true
[[key]]
name = "bob"
sha256 = "{digest('sk-bob')}"
requests_per_minute = 3
[[server]]
name = "fast"
steps_per_second = 400.0
backend = {{ kind = "demo" }}
[[server]]
name = "slow"
steps_per_second = 200.0
backend = {{ kind = "demo" }}
"""


class Gateway:
    """`atelier serve` in a process and a folder of its own, on a free port."""

    def __init__(self, *arguments):
        self.folder = tempfile.TemporaryDirectory()
        with open(os.path.join(self.folder.name, "atelier.toml"), "w") as file:
            file.write(CONFIGURATION)
        self.process = subprocess.Popen(
            [ATELIER, "serve", *arguments, "--listen", "127.0.0.1:0"],
            cwd=self.folder.name,
            env={**os.environ, "XDG_STATE_HOME": self.folder.name},
            stderr=subprocess.PIPE,
            text=True,
        )
        said = iter(self.process.stderr.readline, "")
        self.address = next(filter(None, (re.search(r"http://[0-9.:]+", line) for line in said)))[0]
        assert any("the server is healthy" in line for line in said), "a server is there"
        # What else it says must not fill the pipe.
        self.log = subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=subprocess.DEVNULL)

    def client(self, key, **options):
        return openai.OpenAI(base_url=f"{self.address}/v1", api_key=key, **options)

    def stop(self):
        self.process.terminate()
        assert self.process.wait(timeout=60) == 0, "a clean stop"
        self.process.stderr.close()
        self.log.wait()
        self.folder.cleanup()


def size(png):
    """Width and height of a PNG."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n", png[:8]
    return struct.unpack(">II", png[16:24])


def fetch(url):
    """What a browser gets, which has no key."""
    with urllib.request.urlopen(url) as answer:
        return answer.headers["content-type"], answer.read()


def date(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


class Demonstration(unittest.TestCase):
    """`atelier serve --demo`: no key is needed, so any will do."""

    @classmethod
    def setUpClass(cls):
        cls.gateway = Gateway("--demo")
        cls.addClassCleanup(cls.gateway.stop)

    def test_a_picture(self):
        client = self.gateway.client("any")
        self.assertEqual([model.id for model in client.models.list()], ["ddim", "ddpm"])
        answer = client.images.generate(
            model="atelier",
            prompt="a red circle on blue",
            size="128x64",
            response_format="b64_json",
            extra_body={"due_in_seconds": 2, "penalty": "quadratic"},
        )
        [picture] = answer.data
        self.assertEqual(size(base64.b64decode(picture.b64_json)), (128, 64))


class Configured(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.gateway = Gateway("--config", "atelier.toml")
        cls.addClassCleanup(cls.gateway.stop)
        cls.ann = cls.gateway.client("sk-ann", max_retries=0)
        cls.bob = cls.gateway.client("sk-bob", max_retries=0)

    def latest(self, client):
        """The request that was made last, as the native API shows it."""
        return client.get("/requests?limit=1", cast_to=object)["requests"][0]

    def due_and_penalty(self):
        request = self.latest(self.ann)
        slack = date(request["due"]) - date(request["accepted_at"])
        return round(slack.total_seconds(), 1), request["penalty"]

    def test_models(self):
        self.assertEqual([model.id for model in self.ann.models.list()], ["atelier"])
        self.assertEqual(self.ann.models.retrieve("atelier").owned_by, "atelier")
        with self.assertRaises(openai.NotFoundError) as caught:
            self.ann.models.retrieve("dall-e-3")
        self.assertEqual(caught.exception.code, "model_not_found")

    def test_pictures(self):
        answer = self.ann.images.generate(model="gpt-image-1", prompt="a ring", n=3, size="64x96")
        self.assertEqual(len(answer.data), 3)
        for picture in answer.data:
            self.assertEqual(size(base64.b64decode(picture.b64_json)), (64, 96))
        request = self.ann.get(f"/requests/{answer.data[0].request_id}", cast_to=object)
        self.assertEqual(request["seed"], answer.data[0].seed)
        # Every argument that does not change what can be painted here is taken.
        self.ann.images.generate(
            prompt="a ring", model="dall-e-3", quality="hd", style="vivid", user="u", size="auto",
            background="opaque", moderation="low", output_format="png", output_compression=100,
            complexity="low", safety_identifier="u",
        )

    def test_due_time_and_penalty_as_fields_and_as_headers(self):
        fields = {"due_in_seconds": 12.5, "penalty": "square_root"}
        self.ann.images.generate(prompt="a ring", extra_body=fields)
        self.assertEqual(self.due_and_penalty(), (12.5, "square_root"))
        headers = {"x-atelier-due-in-seconds": "7", "x-atelier-penalty": "quadratic"}
        self.ann.images.generate(prompt="a ring", extra_headers=headers)
        self.assertEqual(self.due_and_penalty(), (7.0, "quadratic"))
        every = self.gateway.client("sk-ann", default_headers=headers)
        every.images.generate(prompt="a ring")
        self.assertEqual(self.due_and_penalty(), (7.0, "quadratic"))
        self.ann.images.generate(prompt="a ring")
        self.assertEqual(self.due_and_penalty(), (30.0, "linear"), "the configuration's")

    def test_addresses(self):
        for arguments in [{"response_format": "url"}, {"model": "dall-e-3"}]:
            answer = self.ann.images.generate(prompt="a ring", **arguments)
            kind, picture = fetch(answer.data[0].url)
            self.assertEqual((kind, size(picture)), ("image/png", (64, 64)))

    def test_formats(self):
        for name, begins in [("jpeg", b"\xff\xd8\xff"), ("webp", b"RIFF")]:
            answer = self.ann.images.generate(
                prompt="a ring", model="gpt-image-1", output_format=name, output_compression=60
            )
            self.assertEqual(answer.output_format, name)
            self.assertTrue(base64.b64decode(answer.data[0].b64_json).startswith(begins))

    def test_a_chat(self):
        answer = self.ann.chat.completions.create(
            model="any",
            messages=[{"role": "user", "content": "a ring"}],
            extra_body={"width": 64, "height": 96, "num_inference_steps": 9},
        )
        [part] = answer.choices[0].message.content
        picture = part["image_url"]["url"].removeprefix("data:image/png;base64,")
        self.assertEqual(size(base64.b64decode(picture)), (64, 96))
        self.assertEqual(self.latest(self.ann)["result"]["steps"], 9)

    def test_litellm(self):
        where = {"api_base": f"{self.gateway.address}/v1", "api_key": "sk-ann"}
        for model, read in [
            ("openai/dall-e-3", lambda picture: fetch(picture.url)[1]),
            ("openai/gpt-image-1", lambda picture: base64.b64decode(picture.b64_json)),
        ]:
            answer = litellm.image_generation(prompt="a ring", model=model, size="64x96", **where)
            self.assertEqual(size(read(answer.data[0])), (64, 96))

    def test_langchain(self):
        tool = DallEAPIWrapper(
            api_key="sk-ann", base_url=f"{self.gateway.address}/v1", model="dall-e-3", size="64x96"
        )
        self.assertEqual(size(fetch(tool.run("a ring"))[1]), (64, 96))

    def test_javascript(self):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "client.mjs")
        environment = {**os.environ, "BASE_URL": f"{self.gateway.address}/v1", "API_KEY": "sk-ann"}
        told = json.loads(subprocess.check_output(["node", script], env=environment, timeout=60))
        self.assertEqual(size(base64.b64decode(told["b64_json"])), (64, 96))
        self.assertEqual(size(fetch(told["url"])[1]), (64, 64))
        self.assertEqual(told["streamed"], ["image_generation.completed"])
        self.assertEqual(told["refused"], {"status": 400, "param": "size"})

    def test_streams(self):
        with self.ann.images.generate(
            model="gpt-image-1", prompt="a ring", n=2, stream=True, partial_images=2
        ) as stream:
            events = list(stream)
        self.assertEqual([event.type for event in events], ["image_generation.completed"] * 2)
        for event in events:
            self.assertEqual(size(base64.b64decode(event.b64_json)), (64, 64))
            self.assertEqual((event.size, event.output_format), ("64x64", "png"))
            self.assertEqual(event.usage.total_tokens, 0)

    def test_side_by_side(self):
        async def pictures():
            address = f"{self.gateway.address}/v1"
            async with openai.AsyncOpenAI(base_url=address, api_key="sk-ann") as client:
                calls = [client.images.generate(prompt=f"ring {n}") for n in range(8)]
                return await asyncio.gather(*calls)

        for answer in asyncio.run(pictures()):
            self.assertEqual(size(base64.b64decode(answer.data[0].b64_json)), (64, 64))

    def test_headers(self):
        answer = self.ann.images.with_raw_response.generate(prompt="a ring")
        self.assertLess(float(answer.headers["x-atelier-overhead-ms"]), 10_000)
        self.assertEqual(len(answer.parse().data), 1)

    def test_refusals_name_the_field(self):
        for arguments, param, word in [
            ({"size": "big"}, "size", "512x512"),
            ({"size": "65x64"}, "size", "multiple of 8"),
            ({"n": 11}, "n", "1 to 10"),
            ({"output_format": "gif"}, "output_format", "webp"),
            ({"output_compression": 101}, "output_compression", "0 to 100"),
            ({"extra_body": {"penalty": "cubic"}}, "penalty", "square_root"),
            ({"extra_body": {"due_in_seconds": -1}}, "due_in_seconds", "past"),
            ({"extra_body": {"colour": 1}}, "colour", "unknown field"),
            ({"extra_headers": {"x-atelier-penalty": "cubic"}}, "x-atelier-penalty", "linear"),
        ]:
            with self.subTest(param), self.assertRaises(openai.BadRequestError) as caught:
                self.ann.images.generate(prompt="a ring", **arguments)
            error = caught.exception
            self.assertEqual((error.param, error.code), (param, "invalid_field"))
            self.assertEqual(error.type, "invalid_request_error")
            self.assertIn(word, str(error))

    def test_strangers(self):
        with self.assertRaises(openai.AuthenticationError) as caught:
            self.gateway.client("sk-eve").images.generate(prompt="a ring")
        self.assertEqual(caught.exception.code, "unknown_key")

    def test_what_is_not_offered(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            self.ann.images.edit(image=b"png", prompt="a ring")
        self.assertEqual(caught.exception.code, "not_supported")

    def test_rates(self):
        for _ in range(3):
            self.bob.images.generate(prompt="a ring")
        with self.assertRaises(openai.RateLimitError) as caught:
            self.bob.images.generate(prompt="a ring")
        self.assertEqual(caught.exception.code, "rate_limited")
        self.assertLessEqual(int(caught.exception.response.headers["retry-after"]), 31)

    def test_without_a_server_the_client_is_told_when_to_come_back(self):
        def enable(enabled):
            for name in ["fast", "slow"]:
                self.ann.patch(f"/servers/{name}", body={"enabled": enabled}, cast_to=object)

        self.addCleanup(enable, True)
        enable(False)
        with self.assertRaises(openai.InternalServerError) as caught:
            self.ann.images.generate(prompt="a ring")
        self.assertEqual((caught.exception.status_code, caught.exception.code), (503, "no_server"))
        self.assertGreater(int(caught.exception.response.headers["retry-after"]), 0)


if __name__ == "__main__":
    ATELIER = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
