//! Means and their intervals.

/// The least of some numbers.
pub(crate) fn least(numbers: &[f64]) -> Option<f64> {
    numbers.iter().copied().reduce(f64::min)
}

/// The one in the middle.
pub(crate) fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A geometric mean, and where it lies with 95 % of certainty.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interval {
    pub(crate) mean: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// Student's t for 95 % on both sides, by degrees of freedom from 1 on (Abramowitz and Stegun, table 26.10).
const T: [f64; 20] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
];

impl Interval {
    /// Of ratios, which are taken to be normal in their logarithms; `None` for fewer than two.
    pub(crate) fn of(ratios: &[f64]) -> Option<Self> {
        let count = ratios.len() as f64;
        let t = *T.get(ratios.len().checked_sub(2)?).unwrap_or(&2.086);
        let logs: Vec<f64> = ratios.iter().map(|ratio| ratio.ln()).collect();
        let mean = logs.iter().sum::<f64>() / count;
        let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let half = t * (variance / count).sqrt();
        Some(Self {
            mean: mean.exp(),
            low: (mean - half).exp(),
            high: (mean + half).exp(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_lies_around_its_mean() {
        let of = Interval::of(&[1.0, 4.0]).unwrap();
        assert!((of.mean - 2.0).abs() < 1e-9 && of.low < 1e-3 && of.high > 1e3);
        let of = Interval::of(&[1.0, 1.0, 1.0]).unwrap();
        assert!((of.low - 1.0).abs() < 1e-9 && (of.high - 1.0).abs() < 1e-9);
        assert!(Interval::of(&[1.0]).is_none());
    }

    #[test]
    fn the_middle_and_the_least() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert_eq!(least(&[]), None);
        assert_eq!(least(&[3.0, 1.0]), Some(1.0));
    }
}
