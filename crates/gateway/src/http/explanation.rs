//! `GET /v1/requests/{id}/decision`: what a decision was chosen from.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use dispatch::Unasked;
use jiff::Timestamp;
use scheduling::policies::best_decision;
use scheduling::{Decision, Observation, Offer, Steps, Traffic};
use serde::Serialize;

use super::auth::Visitor;
use super::problem::Problem;
use super::requests::own_or_operated;
use super::view::DecisionView;
use super::{Server, answer};
use crate::engine::Explained;
use crate::handle::Handle;
use crate::status::Status;

/// The latest decision of a request, and its alternatives.
#[derive(Serialize)]
struct ExplanationView {
    id: String,
    /// None before there is one.
    decision: Option<DecisionView>,
    /// What each server that was asked would have done; none if that is not known any more.
    offers: Option<Vec<OfferView>>,
    /// The servers that were not asked.
    unasked: Vec<UnaskedView>,
    /// What the shadow policy's choice would have come to by these offers, with its steps; none if there was none or
    /// that is not known any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow_offer: Option<OfferView>,
}

/// A server as it stood at the decision: with the steps that were decided where it was chosen, and elsewhere with those
/// that are best for this request alone.
#[derive(Serialize)]
struct OfferView {
    server: String,
    chosen: bool,
    steps: u32,
    predicted_start: Timestamp,
    predicted_finish: Timestamp,
    /// Part of the run in which the model is loaded.
    load_seconds: f64,
    predicted_tardiness_seconds: f64,
    expected_quality: f64,
    expected_reward: f64,
}

#[derive(Serialize)]
struct UnaskedView {
    server: String,
    why: Unasked,
}

/// `GET /v1/requests/{id}/decision`
pub(crate) async fn explain(
    State(server): State<Server>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (status, room) = own_or_operated(&server, &visitor, &id).await?;
    let handle = &server.handle;
    let explained = handle.explain(status.accepted.order.id).await?;
    let view = ExplanationView::new(&status, explained.as_deref(), handle);
    Ok(answer::json(&view, room).into_response())
}

impl ExplanationView {
    fn new(status: &Status, explained: Option<&Explained>, handle: &Handle) -> Self {
        let entry = status.decision.as_ref();
        let decision = entry.map(|entry| DecisionView::new(entry, status, handle));
        let mut view = Self {
            id: status.accepted.order.id.to_string(),
            decision,
            offers: None,
            unasked: Vec::new(),
            shadow_offer: None,
        };
        let Some(explained) = explained else { return view };
        let request = handle.config.request(&status.accepted);
        let objective = handle.objective_of(status.accepted.spec.model.as_deref());
        let traffic = Traffic::default();
        let chosen = |server: &str| entry.filter(|decided| *decided.server == *server);
        let shown = |server: &str, offer: &Offer, steps: Option<Steps>| {
            let observation = explained.alone(offer, &request, objective, &traffic);
            OfferView::new(server, chosen(server).is_some(), &observation, steps, handle)
        };
        let offers = view.offers.insert(Vec::new());
        for (server, offered) in &explained.servers {
            match offered {
                Ok(offer) => {
                    let decided = chosen(server).map(|decided| decided.steps);
                    offers.push(shown(server, offer, decided));
                }
                Err(why) => {
                    view.unasked.push(UnaskedView { server: server.to_string(), why: *why });
                }
            }
        }
        let shadow = entry.and_then(|entry| entry.shadow.as_ref());
        view.shadow_offer = shadow.and_then(|shadow| {
            let offer = explained.offer(&shadow.server)?;
            Some(shown(&shadow.server, offer, Some(shadow.steps)))
        });
        view
    }
}

impl OfferView {
    /// Of the only server that is observed, with these steps or those that are best there.
    fn new(
        server: &str,
        chosen: bool,
        observation: &Observation<'_>,
        steps: Option<Steps>,
        handle: &Handle,
    ) -> Self {
        let (now, offer) = (observation.now, &observation.offers[0]);
        let decision = match steps {
            Some(steps) => Decision { server: 0, steps },
            None => best_decision(observation, |_, _| 0.0).0,
        };
        let finish = observation.time_to_finish(decision);
        Self {
            server: server.into(),
            chosen,
            steps: decision.steps.get(),
            predicted_start: handle.date(now + offer.backlog),
            predicted_finish: handle.date(now + finish),
            load_seconds: offer.load.seconds(),
            predicted_tardiness_seconds: (finish - observation.time_to_due())
                .positive_part()
                .seconds(),
            expected_quality: observation.objective.quality(decision.steps),
            expected_reward: observation.reward(decision),
        }
    }
}
