//! The Markov decision process of §III-A, as training sees it.

use crate::objective::TardinessPenalty;
use crate::policy::Decision;

/// Many episodes side by side, each with its own requests and queues.
///
/// A lane is one episode. All lanes take their t-th decision together, so that an agent can decide
/// for all of them at once. State s_t of eq. (5)'s process stands in the observed buffers, one
/// contiguous buffer per field.
pub trait Environment {
    /// J: servers in each lane.
    fn servers(&self) -> usize;

    /// Episodes side by side.
    fn lanes(&self) -> usize;

    /// I: requests, and so decisions, in an episode.
    fn requests(&self) -> usize;

    /// Starts lane k on episode `first_episode + k`, with empty queues and its first request
    /// arriving. The episode's number alone, under the environment's seed, says what happens in it.
    fn reset(&mut self, first_episode: u64);

    /// m_j in seconds: `lanes × servers`, a lane's servers next to one another.
    fn backlog(&self) -> &[f32];

    /// o_t = d − r in seconds, one per lane.
    fn slack(&self) -> &[f32];

    /// g, one per lane; its urgency is the paper's o_p.
    fn penalty(&self) -> &[TardinessPenalty];

    /// Takes one decision per lane, writes r_t of eq. (5) for each and lets the next request arrive.
    fn step(&mut self, decisions: &[Decision], rewards: &mut [f64]);
}
