//! When the tokens of an answer came.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use assay_engine::Observer;

/// Notes the time of every token.
pub struct Stopwatch {
    began: Instant,
    tokens: Vec<Instant>,
}

impl Stopwatch {
    /// Begins now.
    pub fn start() -> Self {
        Self { began: Instant::now(), tokens: Vec::new() }
    }

    /// Until the first token; none if there was no token.
    pub fn first_token(&self) -> Option<Duration> {
        Some(*self.tokens.first()? - self.began)
    }

    /// Tokens a second after the first; none before there are two.
    pub fn tokens_per_second(&self) -> Option<f64> {
        let (first, last) = (self.tokens.first()?, self.tokens.last()?);
        rate(self.tokens.len() - 1, *last - *first)
    }

    /// Tokens a second of the end of the answer: its last so long, or its last two tokens where they are further apart;
    /// none before there are two.
    pub fn final_tokens_per_second(&self, window: Duration) -> Option<f64> {
        let last = *self.tokens.last()?;
        let within = self.tokens.iter().position(|at| last - *at <= window)?;
        let first = within.min(self.tokens.len().checked_sub(2)?);
        rate(self.tokens.len() - 1 - first, last - self.tokens[first])
    }

    /// Tokens a second of all while all were being answered: from the last first token to the first last one. Where
    /// they never were, which happens to models that answer within the time to ask, from the first token to the last.
    pub fn joint_tokens_per_second(all: &[Self]) -> Option<f64> {
        let firsts = all.iter().map(|one| one.tokens.first()).collect::<Option<Vec<_>>>()?;
        let lasts: Vec<_> = all.iter().filter_map(|one| one.tokens.last()).collect();
        let between = |from: &Instant, to: &Instant| {
            let count = all.iter().flat_map(|one| &one.tokens).filter(|at| *at > from && *at <= to).count();
            rate(count, to.checked_duration_since(*from)?)
        };
        between(firsts.iter().max()?, lasts.iter().min()?)
            .or_else(|| between(firsts.iter().min()?, lasts.iter().max()?))
    }
}

fn rate(count: usize, time: Duration) -> Option<f64> {
    (count > 0 && !time.is_zero()).then(|| count as f64 / time.as_secs_f64())
}

impl Observer for Stopwatch {
    fn token(&mut self, _: u32) -> ControlFlow<()> {
        self.tokens.push(Instant::now());
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stopwatch(began: Instant, seconds: &[u64]) -> Stopwatch {
        let tokens = seconds.iter().map(|second| began + Duration::from_secs(*second)).collect();
        Stopwatch { began, tokens }
    }

    #[test]
    fn tokens_are_timed_from_one_to_the_next() {
        let one = stopwatch(Instant::now(), &[3, 4, 5, 7]);
        assert_eq!(one.first_token(), Some(Duration::from_secs(3)));
        assert_eq!(one.tokens_per_second(), Some(0.75));
        let of_the_end = |seconds| one.final_tokens_per_second(Duration::from_secs(seconds));
        assert_eq!([1, 2, 3, 100].map(of_the_end), [0.5, 0.5, 2.0 / 3.0, 0.75].map(Some));
        let single = stopwatch(Instant::now(), &[3]);
        assert_eq!((single.tokens_per_second(), single.final_tokens_per_second(Duration::MAX)), (None, None));
    }

    #[test]
    fn sequences_are_timed_together_while_all_of_them_run() {
        let began = Instant::now();
        let all = [stopwatch(began, &[1, 2, 3, 4, 5]), stopwatch(began, &[3, 4, 5, 6])];
        assert_eq!(Stopwatch::joint_tokens_per_second(&all), Some(2.0));
        let apart = [stopwatch(began, &[1, 2]), stopwatch(began, &[3, 4])];
        assert_eq!(Stopwatch::joint_tokens_per_second(&apart), Some(1.0));
        assert_eq!(Stopwatch::joint_tokens_per_second(&[]), None);
    }
}
