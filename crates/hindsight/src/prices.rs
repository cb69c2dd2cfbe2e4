//! A price for the time of each server.

/// π_j(t) ≥ 0: what a second of server j costs at time t, constant on bins of equal width.
///
/// What is stored is the integral Π_j at the edges of the bins. Any ascending numbers are the
/// integral of *some* price that is not negative, so rounding in the sums that led to them cannot
/// make a bound invalid.
#[derive(Clone, Debug)]
pub(crate) struct Prices {
    /// Left edge of bin 0. Nothing can start earlier.
    pub(crate) origin: f64,
    /// Width of a bin in seconds.
    pub(crate) width: f64,
    /// Number of bins. After the last of them time is free of charge.
    pub(crate) bins: usize,
    /// Π_j at each of the `bins + 1` edges, ascending from 0, by server.
    pub(crate) paid: Vec<Vec<f64>>,
}

impl Prices {
    /// Free of charge, from `origin` until at least `end`.
    pub(crate) fn free(servers: usize, origin: f64, end: f64, width: f64) -> Self {
        let bins = ((end - origin) / width).ceil().max(1.0) as usize;
        Self { origin, width, bins, paid: vec![vec![0.0; bins + 1]; servers] }
    }

    /// The left edge of a bin.
    pub(crate) fn edge(&self, bin: usize) -> f64 {
        self.origin + bin as f64 * self.width
    }

    /// The bin that `time` lies in; `bins` after the last.
    pub(crate) fn bin(&self, time: f64) -> usize {
        (((time - self.origin) / self.width).max(0.0) as usize).min(self.bins)
    }

    /// Π_j(t): price of all the time of `server` up to `time`.
    pub(crate) fn until(&self, server: usize, time: f64) -> f64 {
        let at = ((time - self.origin) / self.width).max(0.0);
        let bin = at as usize;
        let paid = &self.paid[server];
        if bin >= self.bins {
            paid[self.bins]
        } else {
            paid[bin] + (at - bin as f64) * (paid[bin + 1] - paid[bin])
        }
    }

    /// Price of running on `server` from `start` to `finish`.
    pub(crate) fn between(&self, server: usize, start: f64, finish: f64) -> f64 {
        self.until(server, finish) - self.until(server, start)
    }

    /// π_j in bin `bin`; 0 after the last.
    pub(crate) fn rate(&self, server: usize, bin: usize) -> f64 {
        if bin >= self.bins {
            0.0
        } else {
            (self.paid[server][bin + 1] - self.paid[server][bin]) / self.width
        }
    }

    /// Price of all the time of `server`.
    pub(crate) fn whole(&self, server: usize) -> f64 {
        self.paid[server][self.bins]
    }

    /// Price of all the time of all servers: Σ_j ∫ π_j.
    pub(crate) fn total(&self) -> f64 {
        (0..self.paid.len()).map(|server| self.whole(server)).sum()
    }

    /// The same prices on bins of half the width.
    pub(crate) fn refined(&self) -> Self {
        let halve = |paid: &Vec<f64>| {
            let mut fine = Vec::with_capacity(2 * self.bins + 1);
            for pair in paid.windows(2) {
                fine.extend([pair[0], f64::midpoint(pair[0], pair[1])]);
            }
            fine.push(paid[self.bins]);
            fine
        };
        Self {
            origin: self.origin,
            width: self.width / 2.0,
            bins: 2 * self.bins,
            paid: self.paid.iter().map(halve).collect(),
        }
    }

    /// The price in each bin, to be changed and given to [`Prices::set_rates`].
    pub(crate) fn rates(&self) -> Vec<Vec<f64>> {
        let rates = |server| (0..self.bins).map(|bin| self.rate(server, bin)).collect();
        (0..self.paid.len()).map(rates).collect()
    }

    /// Takes over prices per bin; negative ones count as 0.
    pub(crate) fn set_rates(&mut self, rates: &[Vec<f64>]) {
        for (paid, rates) in self.paid.iter_mut().zip(rates) {
            let mut sum = 0.0;
            for (edge, rate) in paid[1..].iter_mut().zip(rates) {
                sum += rate.max(0.0) * self.width;
                *edge = sum;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integrals_and_refinement() {
        let mut prices = Prices::free(1, 10.0, 16.0, 2.0);
        prices.set_rates(&[vec![1.0, 3.0, -5.0]]);
        for prices in [prices.clone(), prices.refined(), prices.refined().refined()] {
            for (start, finish, expected) in
                [(10.0, 11.0, 1.0), (11.0, 13.0, 4.0), (9.0, 99.0, 8.0), (14.0, 15.0, 0.0)]
            {
                assert_eq!(prices.between(0, start, finish), expected, "{start} to {finish}");
            }
            assert_eq!(prices.total(), 8.0);
        }
        assert_eq!(prices.rates(), [vec![1.0, 3.0, 0.0]]);
    }
}
