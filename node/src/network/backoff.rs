//! How long to wait before something is tried again.

/// Waits that double from the first to the last, in whatever unit the caller counts.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// After the first attempt.
    pub first: u32,
    /// At the most.
    pub last: u32,
}

impl Backoff {
    /// The wait after so many attempts before this one.
    pub const fn after(self, attempts: u32) -> u32 {
        let doublings = if attempts < 16 { attempts } else { 16 };
        let wait = self.first.saturating_mul(1 << doublings);
        if wait < self.last { wait } else { self.last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_last() {
        let backoff = Backoff { first: 1, last: 60 };
        let waits: Vec<_> = (0..9).map(|attempts| backoff.after(attempts)).collect();
        assert_eq!(waits, vec![1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(backoff.after(u32::MAX), 60);
    }
}
