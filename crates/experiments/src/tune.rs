//! Fitting the price of server time.

use rayon::prelude::*;
use scheduling::policies::{Price, Priced};
use scheduling::{Instance, Rule};
use simulation::{Episode, InstanceSource, Metrics};

use crate::schedule::{ScheduleError, schedule_of};

const BASES: [f64; 5] = [0.0, 0.5, 1.0, 2.0, 4.0];
const SLOPES: [f64; 4] = [0.0, 0.05, 0.2, 0.8];
const POWERS: [f64; 3] = [0.5, 1.0, 2.0];
const LOADS: [f64; 4] = [0.0, 0.5, 1.5, 4.0];
const GRID: usize = BASES.len() * SLOPES.len() * POWERS.len();
const SEARCH: u64 = 160;

/// Prices that [`tune`] tries in all, give or take a few: a grid, then the search.
pub fn trials(source: &dyn InstanceSource) -> u64 {
    let loads = if source.loads_models() { LOADS.len() } else { 1 };
    (GRID * loads) as u64 + SEARCH
}

/// A price and the mean reward per request that it earns on the instances it was fitted to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tuned {
    /// The price.
    pub price: Price,
    /// Its reward, a little flattered as always where parameters were fitted.
    pub reward: f64,
}

/// Finds the parameters of `priced` that earn most on training instances 0, 1, … of a source, that of
/// loading among them where servers load models.
///
/// All prices meet the same instances. A coarse grid gives the start and Nelder and Mead's simplex
/// the rest. Instances run on all threads; the result does not depend on their number.
/// `after_trial` is called after each trial, some [`trials`] times.
///
/// # Errors
/// [`ScheduleError`] if a schedule breaks the rules: a bug of ours.
pub fn tune(
    source: &dyn InstanceSource,
    instances: u64,
    seed: u64,
    mut after_trial: impl FnMut(),
) -> Result<Tuned, ScheduleError> {
    let instances: Vec<_> = (0..instances)
        .into_par_iter()
        .map(|number| source.instance(seed, Episode::Training(number)))
        .collect();
    let mut reward = |price: Price| {
        after_trial();
        mean_reward(price, &instances)
    };
    let grid = BASES.iter().flat_map(|&base| {
        SLOPES.iter().flat_map(move |&slope| POWERS.map(|power| [base, slope, power]))
    });
    let (reward, price) = if source.loads_models() {
        let grid =
            grid.flat_map(|[base, slope, power]| LOADS.map(|load| [base, slope, power, load]));
        search(grid, &mut reward)?
    } else {
        search(grid, &mut reward)?
    };
    Ok(Tuned { price, reward })
}

/// The best price of the grid, and what is found from there, with its reward.
fn search<const N: usize>(
    grid: impl Iterator<Item = [f64; N]>,
    reward: &mut impl FnMut(Price) -> Result<f64, ScheduleError>,
) -> Result<(f64, Price), ScheduleError> {
    let mut tried = grid
        .map(|point| Ok((reward(price(&point))?, point)))
        .collect::<Result<Vec<_>, ScheduleError>>()?;
    tried.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (reward, point) = maximise(&mut |point| reward(price(point)), tried[0].1)?;
    Ok((reward, price(&point)))
}

/// The price at a point of base, slope, power and perhaps load; the search may stray outside the ranges.
fn price(point: &[f64]) -> Price {
    let &[base, slope, power, ref load @ ..] = point else { panic!("{point:?} has no power") };
    // Four digits are more than the instances can tell apart, and can be typed.
    let rounded = |x: f64| (x * 1e4).round() / 1e4;
    let [base, slope, load] =
        [base, slope, load.first().copied().unwrap_or(0.0)].map(|x| rounded(x.clamp(0.0, 1e6)));
    Price::new(base, slope, rounded(power.clamp(0.0, 8.0)))
        .and_then(|price| price.with_load(load))
        .expect("clamped into the ranges")
}

fn mean_reward(price: Price, instances: &[Instance]) -> Result<f64, ScheduleError> {
    let rewards = instances
        .par_iter()
        .map(|instance| {
            let rows = schedule_of(&mut Priced { price }, &Rule::Priced { price }, instance)?;
            Ok(Metrics::of(&rows).reward)
        })
        .collect::<Result<Vec<f64>, ScheduleError>>()?;
    Ok(rewards.iter().sum::<f64>() / rewards.len() as f64)
}

/// Nelder and Mead's simplex (1965) with the usual coefficients, for [`SEARCH`] trials.
fn maximise<const N: usize>(
    reward: &mut impl FnMut(&[f64; N]) -> Result<f64, ScheduleError>,
    start: [f64; N],
) -> Result<(f64, [f64; N]), ScheduleError> {
    const STRIDES: [f64; 4] = [0.3, 0.05, 0.3, 0.3];
    let mut trials = 0;
    let mut evaluate = |point: [f64; N]| {
        trials += 1;
        Ok::<_, ScheduleError>((reward(&point)?, point, trials))
    };
    let mut simplex: Vec<_> = (0..=start.len())
        .map(|corner| {
            let mut point = start;
            if corner > 0 {
                point[corner - 1] += STRIDES[corner - 1];
            }
            let (value, point, _) = evaluate(point)?;
            Ok((value, point))
        })
        .collect::<Result<_, ScheduleError>>()?;
    loop {
        simplex.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (best, worst) = (simplex[0], simplex[N]);
        let centre: [f64; N] =
            std::array::from_fn(|i| simplex[..N].iter().map(|corner| corner.1[i] / N as f64).sum());
        let towards = |factor: f64| -> [f64; N] {
            std::array::from_fn(|i| centre[i] + factor * (centre[i] - worst.1[i]))
        };
        let (reflected, point, trials) = evaluate(towards(1.0))?;
        if trials >= SEARCH {
            return Ok(best);
        }
        let (second, point, _) = if reflected > best.0 {
            evaluate(towards(2.0))?
        } else if reflected > simplex[N - 1].0 {
            (reflected, point, trials)
        } else {
            evaluate(towards(if reflected > worst.0 { 0.5 } else { -0.5 }))?
        };
        if second > reflected.max(worst.0) || reflected > simplex[N - 1].0 {
            simplex[N] =
                if second >= reflected { (second, point) } else { (reflected, towards(1.0)) };
            continue;
        }
        for corner in &mut simplex[1..] {
            let (value, point, _) =
                evaluate(std::array::from_fn(|i| f64::midpoint(corner.1[i], best.1[i])))?;
            *corner = (value, point);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use simulation::Scenario;

    #[test]
    fn loads_get_a_price_where_there_are_any() {
        let short = |text| {
            let scenario = Scenario::from_toml(text).unwrap();
            scenario.with(|settings| settings.requests = 150).unwrap()
        };
        let fleet = short(include_str!("../../../scenarios/fleet.toml"));
        let paper = short(include_str!("../../../scenarios/contended.toml"));
        let tuned = |scenario: &Scenario| {
            let mut trials = 0;
            let tuned = tune(scenario, 1, 3, || trials += 1).unwrap();
            let foreseen = super::trials(scenario);
            assert!(trials >= foreseen && trials < foreseen + 10, "{trials} and {foreseen}");
            tuned
        };
        let fitted = tuned(&fleet);
        assert!(fitted.price.to_string().contains(",load="), "{}", fitted.price);
        let instances = [fleet.instance(3, Episode::Training(0))];
        let blind = mean_reward(fitted.price.with_load(0.0).unwrap(), &instances).unwrap();
        assert!(fitted.reward > blind + 0.5, "{} and {blind}", fitted.reward);
        assert!(!tuned(&paper).price.to_string().contains("load"));
    }
}
