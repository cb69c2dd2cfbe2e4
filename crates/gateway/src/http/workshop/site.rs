//! What a page must know of the gateway beside its servers and requests.

use jiff::Timestamp;
use scheduling::TardinessPenalty;
use serde::Serialize;

use crate::config::{BackendConfig, Config, Defaults, LimitsConfig};
use crate::engine::InForce;
use crate::http::account::{Account, Role};

/// The gateway, as somebody sees it.
#[derive(Serialize)]
pub(super) struct Site<'a> {
    version: &'static str,
    /// When this is told. Without it nothing is different only because time goes by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) now: Option<Timestamp>,
    /// Whether all servers are the built-in painter.
    demo: bool,
    owner: &'a str,
    operator: bool,
    /// Whether there are keys at all.
    keys: bool,
    policy: &'a str,
    shadow_policy: Option<&'a str>,
    tardiness_weight: f64,
    defaults: DefaultsView<'a>,
    limits: LimitsView,
    models: Vec<&'a str>,
}

/// What a request may leave open.
#[derive(Serialize)]
struct DefaultsView<'a> {
    width: u32,
    height: u32,
    due_in_seconds: f64,
    penalty: TardinessPenalty,
    model: Option<&'a str>,
}

/// What a request may ask for.
#[derive(Serialize)]
struct LimitsView {
    prompt_bytes: u32,
    side: u32,
    due_in_seconds: f64,
}

impl<'a> Site<'a> {
    pub(super) fn new(in_force: &'a InForce, account: &'a Account) -> Self {
        let InForce { config, policy, shadow_policy } = in_force;
        let demo = |backend: &BackendConfig| matches!(backend, BackendConfig::Demo { .. });
        Self {
            version: env!("CARGO_PKG_VERSION"),
            now: None,
            demo: config.servers.iter().all(|server| demo(&server.backend)),
            owner: &account.owner,
            operator: account.role == Role::Operator,
            keys: !config.keys.is_empty(),
            policy,
            shadow_policy: shadow_policy.as_deref(),
            tardiness_weight: config.objective.tardiness_weight,
            defaults: DefaultsView::new(&config.defaults, config),
            limits: LimitsView::new(&config.limits),
            models: config.models.iter().map(|model| model.name.get_ref().as_str()).collect(),
        }
    }
}

impl<'a> DefaultsView<'a> {
    fn new(defaults: &Defaults, config: &'a Config) -> Self {
        Self {
            width: defaults.width.get(),
            height: defaults.height.get(),
            due_in_seconds: defaults.due_in_seconds.seconds(),
            penalty: defaults.penalty,
            model: config.default_model(),
        }
    }
}

impl LimitsView {
    fn new(limits: &LimitsConfig) -> Self {
        Self {
            prompt_bytes: limits.prompt_bytes,
            side: limits.side.get(),
            due_in_seconds: limits.due_in_seconds.seconds(),
        }
    }
}
