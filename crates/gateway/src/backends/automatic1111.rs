//! AUTOMATIC1111's web UI, `/sdapi/v1`.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::Client;
use super::embedded::{Embedded, First};
use super::{
    Backend, BackendError, Cancelled, Checkpoints, Job, Painted, Preview, Timing, Watcher,
};

/// One web UI, which the gateway must have for itself: its interrupt stops whatever runs.
pub(crate) struct Automatic1111 {
    pub(crate) client: Client,
    pub(crate) sampler: Option<String>,
    /// The web UI's default, unless told.
    pub(crate) cfg_scale: Option<f64>,
    /// For pictures that name no model; whatever is loaded otherwise.
    pub(crate) checkpoint: Option<String>,
    pub(crate) checkpoints: Checkpoints,
}

#[derive(Deserialize)]
struct Options {
    #[serde(default)]
    sd_model_checkpoint: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Generated {
    images: First<Embedded>,
}

impl Generated {
    /// The picture in it.
    pub(super) fn picture(self) -> Result<Bytes, BackendError> {
        self.images.png()
    }
}

#[derive(Deserialize)]
pub(super) struct TaskProgress {
    #[serde(default)]
    active: bool,
    #[serde(default)]
    queued: bool,
    #[serde(default)]
    progress: Option<f64>,
    /// A data URL. Whatever else it may be is no reason to understand nothing.
    #[serde(default)]
    live_preview: Value,
    #[serde(default)]
    id_live_preview: Value,
}

impl TaskProgress {
    /// How far the task is, if it runs and that is known.
    pub(super) fn share(&self) -> Option<f64> {
        self.progress.filter(|_| self.active).map(|share| share.clamp(0.0, 1.0))
    }

    /// How the picture looks, if the task runs and there is something new to see.
    pub(super) fn preview(&self) -> Option<Preview> {
        let (head, base64) = self.live_preview.as_str()?.split_once(";base64,")?;
        let sound = self.active && head.starts_with("data:image/");
        // Four letters are three bytes.
        if !sound || base64.len() / 4 > Preview::MOST / 3 + 1 {
            return None;
        }
        Preview::of(BASE64.decode(base64).ok()?.into())
    }
}

impl Automatic1111 {
    const POLL: Duration = Duration::from_millis(500);
    /// The number of no preview.
    const NONE: i64 = -1;

    fn task(job: &Job) -> String {
        format!("task(atelier-{})", job.uuid())
    }

    /// How far a job is; with how it looks, if that has changed since the preview of this number.
    async fn progress(&self, job: &Job, since: Option<i64>) -> Result<TaskProgress, BackendError> {
        let question = json!({
            "id_task": Self::task(job),
            "id_live_preview": since.unwrap_or(Self::NONE),
            "live_preview": since.is_some(),
        });
        self.client.post("/internal/progress", &question).await
    }
}

#[async_trait]
impl Backend for Automatic1111 {
    async fn generate(&self, job: &Job, watcher: &dyn Watcher) -> Result<Painted, BackendError> {
        let spec = &job.spec;
        let mut body = json!({
            "prompt": spec.prompt,
            "negative_prompt": spec.negative_prompt,
            "width": spec.width,
            "height": spec.height,
            "seed": spec.seed,
            "steps": job.steps.get(),
            "batch_size": 1,
            "n_iter": 1,
            "send_images": true,
            "save_images": false,
            "force_task_id": Self::task(job),
        });
        if let Some(sampler) = &self.sampler {
            body["sampler_name"] = json!(sampler);
        }
        if let Some(cfg_scale) = self.cfg_scale {
            body["cfg_scale"] = json!(cfg_scale);
        }
        if let Some(checkpoint) = self.checkpoints.of(spec).or(self.checkpoint.as_deref()) {
            body["override_settings"] = json!({ "sd_model_checkpoint": checkpoint });
            // Otherwise it would load what was there before again, after every picture. The form of pictures
            // would stay changed, too, so it is not asked for here: what comes as JPEG or WebP is converted.
            body["override_settings_restore_afterwards"] = json!(false);
        } else {
            // Many have it write JPEG.
            body["override_settings"] = json!({ "samples_format": "png" });
        }
        let call = self.client.post_picture::<Generated>("/sdapi/v1/txt2img", &body, job);
        tokio::pin!(call);
        let mut poll = tokio::time::interval(Self::POLL);
        let mut timing = Timing::Direct;
        let (mut seen, mut understood) = (Self::NONE, true);
        for question in 0u32.. {
            tokio::select! {
                generated = &mut call => {
                    return Ok(Painted { png: generated?.picture()?, timing });
                }
                _ = poll.tick() => {
                    // Progress is a courtesy: without it the run goes on.
                    // It may have been the preview that was too much: then it is asked for every other time.
                    let since = (understood && watcher.wants_previews()).then_some(seen);
                    let asked = tokio::time::timeout(Self::POLL, self.progress(job, since)).await;
                    understood = since.is_none() || matches!(asked, Ok(Ok(_)));
                    let Ok(Ok(progress)) = asked else { continue };
                    seen = progress.id_live_preview.as_i64().unwrap_or(seen);
                    progress.preview().into_iter().for_each(|preview| watcher.preview(preview));
                    // The first question may come before the task has been taken up.
                    if progress.queued && question > 0 {
                        timing = Timing::Delayed;
                        watcher.waits();
                    }
                    progress.share().into_iter().for_each(|share| watcher.progress(share));
                }
            }
        }
        Err(BackendError::Unknown)
    }

    async fn cancel(&self, job: &Job, _: Option<&str>) -> Result<Cancelled, BackendError> {
        // The interrupt names no task, so it is sent only while ours is the one that runs.
        if self.progress(job, None).await?.active {
            let nothing = json!({});
            let call = self.client.call(
                Method::POST,
                "/sdapi/v1/interrupt",
                Some(&nothing),
                Client::SMALL,
            );
            call.await?;
        }
        Ok(Cancelled::Stopping)
    }

    async fn probe(&self) -> Result<(), BackendError> {
        self.client.get::<Value>("/sdapi/v1/memory").await.map(drop)
    }

    async fn loaded(&self) -> Result<Option<Vec<String>>, BackendError> {
        if self.checkpoints.is_empty() {
            return Ok(None);
        }
        let Options { sd_model_checkpoint } = self.client.get("/sdapi/v1/options").await?;
        let Some(told) = sd_model_checkpoint else { return Ok(None) };
        // One that is not ours takes the room as well: nothing of ours is known to be there.
        Ok(Some(self.checkpoints.model(&told).map(str::to_string).into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn preview(active: bool, live_preview: &Value) -> Option<Preview> {
        let answer = json!({
            "active": active, "progress": 0.5, "live_preview": live_preview, "id_live_preview": 3
        });
        let progress: TaskProgress = serde_json::from_value(answer).unwrap();
        assert_eq!(progress.share(), active.then_some(0.5), "it tells how far it is all the same");
        progress.preview()
    }

    #[test]
    fn previews_are_data_urls_of_a_task_that_runs() {
        let long = format!("data:image/jpeg;base64,/9j/{}", "AAAA".repeat(Preview::MOST / 3));
        for (active, url, kind) in [
            (true, json!("data:image/jpeg;base64,/9j/4A=="), Some("image/jpeg")),
            (true, json!("data:image/png;base64,iVBORw0KGgo="), Some("image/png")),
            // What it is counts, not what it is called.
            (true, json!("data:image/png;base64,/9j/4A=="), Some("image/jpeg")),
            (false, json!("data:image/jpeg;base64,/9j/4A=="), None),
            (true, json!("data:text/html;base64,/9j/4A=="), None),
            (true, json!("data:image/jpeg;base64,***"), None),
            (true, json!("data:image/jpeg;base64,AAAA"), None),
            (true, json!("/9j/4A=="), None),
            (true, json!(long), None),
            (true, json!(7), None),
            (true, json!({ "deep": [] }), None),
            (true, Value::Null, None),
        ] {
            let preview = preview(active, &url);
            let shown: String = url.to_string().chars().take(60).collect();
            assert_eq!(preview.map(|preview| preview.content_type()), kind, "{active} {shown}");
        }
    }

    proptest! {
        #[test]
        fn no_preview_makes_it_panic(text in ".{0,80}", base64 in "[A-Za-z0-9+/=]{0,80}") {
            preview(true, &json!(text));
            preview(true, &json!(format!("data:image/{text};base64,{base64}")));
        }
    }
}
