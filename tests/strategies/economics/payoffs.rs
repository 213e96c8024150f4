//! What each strategy gains and loses against honest play in the same seats, in units of F.

use super::terms::{Draw, Terms, WORK_SHARE};

/// The seat from which a strategy acts; its profit is a mean over the jobs in which the coalition has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Executor,
    Verifier,
    /// A verifier, where it matters who executes.
    BesideExecutor,
    Requester,
}

impl From {
    /// The seat's name in a table.
    pub const fn role(self) -> &'static str {
        match self {
            Self::Executor => "executor",
            Self::Verifier | Self::BesideExecutor => "verifier",
            Self::Requester => "requester",
        }
    }
}

/// Profit over honest play, given how many of the drawn verifiers are friends.
#[derive(Clone, Copy, Debug, Default)]
pub struct Payoff {
    /// Work that was not done.
    pub saved: f64,
    /// What accounts hold more, or less.
    pub ledger: f64,
}

/// A strategy's row.
pub struct Entry {
    /// As `strategies` calls it.
    pub name: &'static str,
    pub from: From,
    pub gains: &'static str,
    pub losses: &'static str,
    /// Terms, friends among the other seats, chance that a later verifier is a stranger.
    of: fn(&Terms, usize, f64) -> Payoff,
}

impl Entry {
    /// The mean over the draw.
    pub fn expected(&self, terms: &Terms, draw: Draw, recheck: f64) -> Payoff {
        let others = match self.from {
            From::Executor | From::Requester => terms.verifiers,
            From::Verifier => terms.verifiers - 1,
            From::BesideExecutor => 1,
        };
        let found = recheck * draw.stranger();
        (0..=others).fold(Payoff::default(), |sum, friends| {
            let chance = draw.chance(others, friends);
            let Payoff { saved, ledger } = (self.of)(terms, friends, found);
            Payoff { saved: sum.saved + chance * saved, ledger: sum.ledger + chance * ledger }
        })
    }
}

const fn entry(
    name: &'static str,
    from: From,
    texts: [&'static str; 2],
    of: fn(&Terms, usize, f64) -> Payoff,
) -> Entry {
    Entry { name, from, gains: texts[0], losses: texts[1], of }
}

/// The strategy that pays.
pub const TRUST: &str = "trust a friend that executes";

/// Every strategy of the page.
pub const ENTRIES: [Entry; 25] = [
    entry("lie and concede", From::Executor, ["the work", "F and half a bond"], |t, j, late| {
        lie(t, j, late, |t, j| -1.0 - t.bond / 2.0 + j * t.share_of_half)
    }),
    entry("lie and hold out", From::Executor, ["the work", "F and a bond"], |t, j, late| {
        lie(t, j, late, |t, j| -1.0 - t.bond + j * t.share_of_bond)
    }),
    entry(
        "lie and stand together",
        From::Executor,
        ["the work of all friends", "F, A and a bond of each friend"],
        |t, j, late| {
            let mut payoff = lie(t, j, late, |t, j| -1.0 - j * t.check - (1.0 + j) * t.bond);
            payoff.saved = WORK_SHARE * (1.0 + j as f64 * t.check);
            payoff
        },
    ),
    entry("lie and abort", From::Executor, ["the work", "F, friends' A, a bond"], |t, j, late| {
        lie(t, j, late, |t, j| -1.0 - j * t.check - t.bond)
    }),
    entry("lie and starve strangers", From::Executor, ["the work", "F, friends' A, a bond"], |t, j, late| {
        lie(t, j, late, |t, j| -1.0 - j * t.check - t.bond)
    }),
    entry("lie and never open", From::Executor, ["the work", "F and a bond"], |t, j, late| {
        lie(t, j, late, |t, j| -1.0 - t.bond + j * t.share_of_bond)
    }),
    entry("fail falsely", From::Executor, ["the work", "F and half a bond"], |t, j, late| {
        let shrunk = t.check - t.check_of_prompt;
        let mut payoff = lie(t, j, late, |t, j| {
            -1.0 - t.bond / 2.0 + j * (t.share_of_half - (t.check - t.check_of_prompt))
        });
        if j == t.verifiers {
            payoff.ledger -= 1.0 - t.fee_of_prompt + j as f64 * shrunk;
        }
        payoff
    }),
    entry(
        "reject its own claim",
        From::Executor,
        ["the work, and F/2 a friend", "F and half a bond, or all friends' bonds"],
        |t, j, _| {
            let friends = j as f64;
            let ledger = if j == t.verifiers {
                -1.0 - t.bond / 2.0 + friends * t.share_of_half
            } else {
                -1.0 - friends * t.check - (1.0 + friends) * t.bond
            };
            Payoff { saved: WORK_SHARE * (1.0 + friends * t.check), ledger }
        },
    ),
    entry("garbage trace", From::Executor, ["nothing but the trace", "F and half a bond"], |t, j, late| {
        let mut payoff = lie(t, j, late, |t, j| -1.0 - t.bond / 2.0 + j * t.share_of_half);
        payoff.saved = if j == t.verifiers { WORK_SHARE * j as f64 * t.check } else { 0.0 };
        payoff
    }),
    entry("two faces", From::Executor, ["nothing", "F, friends' A, a bond"], |t, j, _| Payoff {
        saved: 0.0,
        ledger: -1.0 - t.bond - j as f64 * t.check,
    }),
    entry("accept blindly", From::Executor, ["the work", "F and a tenth of F"], |_, _, _| Payoff {
        saved: WORK_SHARE,
        ledger: -1.1,
    }),
    entry("never accept", From::Executor, ["the work", "F"], |_, _, _| Payoff {
        saved: WORK_SHARE,
        ledger: -1.0,
    }),
    entry("rubber stamp", From::Verifier, ["the check", "A and a bond"], |t, _, _| {
        check(t, -t.check - t.bond)
    }),
    entry(
        "rubber stamp and concede",
        From::Verifier,
        ["the check", "A and a quarter of a bond"],
        |t, _, _| check(t, -t.check - t.bond / 4.0),
    ),
    entry(
        "check with cheap weights",
        From::Verifier,
        ["the check", "A and a quarter of a bond"],
        |t, _, _| check(t, -t.check - t.bond / 4.0),
    ),
    entry("reject falsely", From::Verifier, ["the check", "A and a bond"], |t, _, _| {
        check(t, -t.check - t.bond)
    }),
    entry("fail falsely as a verifier", From::Verifier, ["the check", "A and a bond"], |t, _, _| {
        check(t, -t.check - t.bond)
    }),
    entry("copy a commitment", From::Verifier, ["the check", "A and a quarter of a bond"], |t, _, _| {
        check(t, -t.check - t.bond / 4.0)
    }),
    entry("silent verifier", From::Verifier, ["the check", "A twice"], |t, _, _| check(t, -2.0 * t.check)),
    entry("decline to verify", From::Verifier, ["the check", "A and half of A"], |t, _, _| {
        check(t, -1.5 * t.check)
    }),
    entry("never open", From::Verifier, ["nothing: others open it", "nothing"], |_, _, _| Payoff::default()),
    entry(TRUST, From::BesideExecutor, ["the check, where a friend executes", "nothing"], |t, j, _| Payoff {
        saved: WORK_SHARE * t.check * j as f64,
        ledger: 0.0,
    }),
    entry(
        "wash trade",
        From::Requester,
        ["nothing: a chosen executor earns no score", "5 % of F, steps, strangers' A"],
        |t, j, _| Payoff {
            saved: 0.0,
            ledger: -t.protocol - 7.0 * t.step - (t.verifiers - j) as f64 * t.check,
        },
    ),
    entry("withhold the input", From::Requester, ["nothing", "a hundredth of F"], |_, _, _| Payoff {
        saved: 0.0,
        ledger: -0.01,
    }),
    entry("contest a right answer", From::Requester, ["nothing", "the referee's cost"], |t, _, _| Payoff {
        saved: 0.0,
        ledger: -t.referee,
    }),
];

/// A lie of the executor: it pays where all verifiers are friends, unless a later one is not.
fn lie(t: &Terms, friends: usize, late: f64, otherwise: fn(&Terms, f64) -> f64) -> Payoff {
    let seats = friends as f64;
    if friends == t.verifiers {
        return Payoff {
            saved: WORK_SHARE * (1.0 + seats * t.check),
            ledger: -late * (seats + 1.0) * t.bond,
        };
    }
    Payoff { saved: WORK_SHARE, ledger: otherwise(t, seats) }
}

/// A verifier that does not check, and what that does to its account.
fn check(t: &Terms, ledger: f64) -> Payoff {
    Payoff { saved: WORK_SHARE * t.check, ledger }
}
