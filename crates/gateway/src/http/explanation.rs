//! `GET /v1/requests/{id}/decision`: what a decision was chosen from.

use std::slice::from_ref;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use dispatch::Unasked;
use jiff::Timestamp;
use scheduling::policies::best_decision;
use scheduling::{Decision, Observation, Steps, Traffic};
use serde::Serialize;

use super::auth::Visitor;
use super::problem::Problem;
use super::requests::own;
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
    let (status, room) = own(&server, &visitor, &id).await?;
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
        };
        let Some(Explained { at, servers }) = explained else { return view };
        let request = handle.config.request(&status.accepted);
        let objective = handle.objective_of(status.accepted.spec.model.as_deref());
        let offers = view.offers.insert(Vec::new());
        for (name, offered) in servers {
            let server = name.to_string();
            match offered {
                Ok(offer) => {
                    let observation = Observation {
                        now: *at,
                        request: &request,
                        offers: from_ref(offer),
                        objective,
                        residencies: &[],
                        traffic: &Traffic::default(),
                    };
                    let decided = entry.filter(|decided| *decided.server == *server);
                    let decided = decided.map(|decided| decided.steps);
                    offers.push(OfferView::new(server, &observation, decided, handle));
                }
                Err(why) => view.unasked.push(UnaskedView { server, why: *why }),
            }
        }
        view
    }
}

impl OfferView {
    /// Of the only server that is observed, with the steps that were decided there, if it was chosen.
    fn new(
        server: String,
        observation: &Observation<'_>,
        decided: Option<Steps>,
        handle: &Handle,
    ) -> Self {
        let (now, offer) = (observation.now, &observation.offers[0]);
        let decision = match decided {
            Some(steps) => Decision { server: 0, steps },
            None => best_decision(observation, |_, _| 0.0).0,
        };
        let finish = observation.time_to_finish(decision);
        Self {
            server,
            chosen: decided.is_some(),
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
