//! The simplex of Nelder and Mead.

/// Where to begin, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search<const N: usize> {
    /// The first corner.
    pub(crate) start: [f64; N],
    /// How far off the other corners are, each in its own direction.
    pub(crate) strides: [f64; N],
    /// Values that are asked for, give or take a few.
    pub(crate) trials: u64,
}

/// The largest value that is found, and where: the simplex of Nelder and Mead (1965) with the usual
/// coefficients.
///
/// # Errors
/// Those of `value`.
pub(crate) fn maximise<const N: usize, E>(
    search: Search<N>,
    mut value: impl FnMut(&[f64; N]) -> Result<f64, E>,
) -> Result<(f64, [f64; N]), E> {
    let mut trials = 0;
    let mut evaluate = |point: [f64; N]| {
        trials += 1;
        Ok::<_, E>((value(&point)?, point, trials))
    };
    let mut simplex: Vec<_> = (0..=N)
        .map(|corner| {
            let mut point = search.start;
            if corner > 0 {
                point[corner - 1] += search.strides[corner - 1];
            }
            let (value, point, _) = evaluate(point)?;
            Ok((value, point))
        })
        .collect::<Result<_, E>>()?;
    loop {
        simplex.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (best, worst) = (simplex[0], simplex[N]);
        let centre: [f64; N] =
            std::array::from_fn(|i| simplex[..N].iter().map(|corner| corner.1[i] / N as f64).sum());
        let towards = |factor: f64| -> [f64; N] {
            std::array::from_fn(|i| centre[i] + factor * (centre[i] - worst.1[i]))
        };
        let (reflected, point, trials) = evaluate(towards(1.0))?;
        if trials >= search.trials {
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
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn a_curved_valley_is_followed_to_its_end() {
        // Rosenbrock's: the least value is 0, at (1, 1).
        let rosenbrock = |&[x, y]: &[f64; 2]| {
            Ok::<_, Infallible>(-((1.0 - x).powi(2) + 100.0 * (y - x * x).powi(2)))
        };
        let search = Search { start: [-1.2, 1.0], strides: [0.5, 0.5], trials: 400 };
        let Ok((value, [x, y])) = maximise(search, rosenbrock);
        assert!(value > -1e-6 && (x - 1.0).abs() < 1e-2 && (y - 1.0).abs() < 1e-2, "{x} {y}");
        let search = Search { start: [5.0], strides: [1.0], trials: 80 };
        let Ok((_, [x])) =
            maximise(search, |&[x]: &[f64; 1]| Ok::<_, Infallible>(-(x - 2.0).abs()));
        assert!((x - 2.0).abs() < 1e-3, "{x}");
    }
}
