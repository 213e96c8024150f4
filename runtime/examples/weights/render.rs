//! The text of `runtime/src/weights.rs`.

use std::process::Command;

use pallet_assay_validators::{BONDS_MAX, JUDGED_MAX, VALIDATORS_MAX};

use crate::samples::Samples;
use crate::town::{ACCOUNTS, PROVIDERS};

/// The largest package.
const PACKAGE_KIB: f64 = 256.0;

/// Microseconds that a question with the votes of a hundred validators takes more than the measured one, whose chain has
/// one: their keys and votes are read, each key is looked for in both, and 6.4 KB of votes are written. Two reads, a write
/// and 30 000 comparisons of keys are under 200.
const VOTES_US: f64 = 300.0;

/// Microseconds for reading who decided the block before, who decides this one and what each has signed, for writing
/// that, and for writing the deciders in the block after they changed: three reads, two writes, and 18 KB of keys decoded.
const COMMIT_US: f64 = 300.0;

/// Microseconds for judging validators when a session ends: as many bonds are written as may change, with an event each,
/// and what became of the session.
const END_OF_SESSION_US: f64 = 70.0 * (JUDGED_MAX + 1) as f64;

/// What a request or a draw takes with a verifier at large, to what it takes without: a second list of half as many
/// accounts is read and drawn from.
const AT_LARGE: f64 = 1.5;

/// The lists of an offer that also has terms at large, to the sixteen that are measured.
const OFFER_LISTS: f64 = 16.5 / 16.0;

/// Microseconds for the event of a vote, and to look for its key.
const VOTE_US: f64 = 4.0;

/// The file, every number rounded up to two significant digits.
pub fn render(samples: &Samples) -> String {
    let us = |us: f64| two_digits(us);
    let each = |name: &str| us(samples.each(name));
    let authorize = samples.direct("authorize");
    let steps = ["accept", "commit_executor", "commit_verifier", "decline", "equivocation", "need"];
    let dearest = |names: &[&str]| names.iter().map(|name| samples.each(name)).fold(0.0, f64::max);
    let draws = AT_LARGE * samples.each("draw_verifiers");
    let due = draws.max(dearest(&["draw_executor", "draw_fresh", "deadline_silent", "close"]));
    // A slope holds both halves of a step, the check and the act.
    let act = |us: f64| (us - authorize).max(us / 2.0);
    let step = act(dearest(&steps));
    let reveal = act(dearest(&["reveal", "reveal_disputed"]));
    let signature = samples.direct("signature");
    let verdict = dearest(&["verdict", "verdict_overturned", "pause"]) - signature;
    let ruling = samples.each("rule") - signature;
    let models = (samples.each("set_offer_16") - samples.each("set_offer_1")).max(1.0) / 15.0;
    let by_call = [
        ("register", each("register")),
        ("unregister", each("unregister")),
        ("state_edge", each("state_edge")),
        ("withdraw_edge", each("withdraw_edge")),
        ("commit_prior", each("commit_prior")),
        ("open_prior", each("register_and_open")),
        ("withdraw_prior", each("withdraw_prior")),
        ("state_status", each("state_status")),
    ];
    let mut text = header();
    let read = samples.direct("read");
    let write = samples.each("transfer_to_each") - samples.each("transfer_to_one") - read;
    text.push_str(&database(us(read), us(write)));
    text.push_str(&transaction(us(samples.direct("sr25519") + samples.each("nothing"))));
    text.push_str("\nimpl pallet_assay_artifacts::WeightInfo for Measured {\n");
    by_call.iter().for_each(|(name, us)| text.push_str(&constant(name, *us)));
    text.push_str(&validators(samples));
    text.push_str("}\n\nimpl pallet_assay_providers::WeightInfo for Measured {\n");
    text.push_str(&constant("stake", each("stake")));
    text.push_str(&constant("unstake", us(dearest(&["unstake", "unstake_all"]))));
    text.push_str(&constant("withdraw", each("withdraw")));
    text.push_str(&linear("set_offer", "models", each("set_offer_1"), us(models)));
    text.push_str(&constant("set_keys", each("set_keys")));
    let check = samples.direct("authorize_rotate");
    text.push_str(&constant("rotate", us(check.max(samples.each("rotate") - check))));
    // At the most an offer leaves sixteen full lists that nobody else has touched in this block, and takes the last
    // place of sixteen others.
    let exchange = 2.0 * samples.each("leave_16") * OFFER_LISTS;
    let offer = exchange.max(dearest(&["put_in_force_16", "put_in_force_lonely"]));
    text.push_str(&linear("on_initialize", "offers", 20, us(offer)));
    text.push_str("}\n\nimpl pallet_assay_jobs::WeightInfo for Measured {\n");
    text.push_str(&constant("request", us(AT_LARGE * samples.each("request"))));
    text.push_str(&constant("step", us(step)));
    let check = samples.direct("authorize_complain_long");
    text.push_str(&constant("complain", us(check.max(samples.each("complain_long") - check))));
    let check = ["authorize_post_short", "authorize_post_long"].map(|name| samples.direct(name));
    let post = [samples.each("post_short") - check[0], samples.each("post_long") - check[1]];
    text.push_str(&by_size("post", post));
    text.push_str(&by_size("authorize_post", check));
    text.push_str(&constant("need_answer", each("need_answer")));
    text.push_str(&constant("challenge", each("challenge")));
    text.push_str(&linear("rule", "signatures", us(act(ruling) + VOTES_US), us(signature + VOTE_US)));
    text.push_str(&constant("authorize_step", us(authorize)));
    text.push_str(&constant("reveal", us(reveal)));
    text.push_str(&linear("verdict", "signatures", us(act(verdict) + VOTES_US), us(signature + VOTE_US)));
    text.push_str(&constant("poke", us(due)));
    text.push_str(&linear("on_initialize", "jobs", 20, us(due)));
    text.push_str("}\n");
    text
}

/// The head and the functions of the pallet of validators.
fn validators(samples: &Samples) -> String {
    let each = |name: &str| two_digits(samples.each(name));
    // At the most all bonds are looked through for the one that gives way.
    let scan = f64::from(BONDS_MAX) * samples.each("choose");
    let bond = samples.each("bond").max(samples.each("bond_more")) + scan;
    // Empty blocks hold the commit of the one before, of as many validators, which is charged for by its places.
    let commit = f64::from(VALIDATORS_MAX) * samples.direct("signature");
    let crowd = (samples.direct("crowded") - commit - samples.direct("empty")).max(0.0);
    let check = samples.direct("authorize_convict");
    [
        "}\n\nimpl pallet_assay_validators::WeightInfo for Measured {\n".into(),
        constant("bond", two_digits(bond)),
        constant("unbond", each("unbond")),
        constant("announce", each("announce")),
        constant("withdraw", each("withdraw_bond")),
        constant("convict", two_digits(check.max(samples.each("convict") - check))),
        constant("authorize_conviction", two_digits(check)),
        linear(
            "note_commit",
            "places",
            two_digits(COMMIT_US),
            two_digits(samples.direct("signature") + VOTE_US),
        ),
        constant("end_session", two_digits(END_OF_SESSION_US)),
        linear("on_initialize", "bonds", two_digits(280.0 + crowd), each("choose")),
    ]
    .concat()
}

fn header() -> String {
    format!(
        "//! Weights of our calls, in picoseconds of importing a block over the default store.\n\
         //!\n\
         //! Measured and written by `cargo run --release -p assay-runtime --example weights`, with {ACCOUNTS}\n\
         //! accounts and {PROVIDERS} providers of sixteen models each, on {}, on {}.\n\
         //! Every number is rounded up to two digits. What is added to votes of validators, and to draws for those at\n\
         //! large, is in `examples/weights/render.rs`.\n\n\
         use frame_support::weights::{{RuntimeDbWeight, Weight}};\n\n\
         /// The measured weights.\n\
         pub struct Measured;\n\n\
         const fn us(microseconds: u64) -> Weight {{\n    \
             Weight::from_parts(microseconds.saturating_mul(1_000_000), 0)\n\
         }}\n",
        machine(),
        today(),
    )
}

/// What the weights of pallets that are not ours count beside execution.
fn database(read: u64, write: u64) -> String {
    format!(
        "\n/// A key of the state that is read, and one that is written, its part of the state root and of the durable\n\
         /// write included.\n\
         pub const DATABASE: RuntimeDbWeight = RuntimeDbWeight {{ read: {}, write: {} }};\n",
        grouped(read.saturating_mul(1_000_000)),
        grouped(write.saturating_mul(1_000_000)),
    )
}

/// What is charged for every transaction beside its call.
fn transaction(whole: u64) -> String {
    format!(
        "\n/// What every transaction takes whatever it calls: its signature, and a read and a write of its sender's account, from\n\
         /// which the fee is taken.\n\
         pub const TRANSACTION: Weight = us({});\n",
        grouped(whole),
    )
}

fn constant(name: &str, us: u64) -> String {
    format!("    fn {name}() -> Weight {{\n        us({})\n    }}\n", grouped(us))
}

fn linear(name: &str, item: &str, base: u64, each: u64) -> String {
    format!(
        "    fn {name}({item}: u32) -> Weight {{\n        \
             us({}).saturating_add(us({}).saturating_mul({item}.into()))\n    }}\n",
        grouped(base),
        grouped(each),
    )
}

/// From what the smallest package takes and what the largest takes.
fn by_size(name: &str, [short, long]: [f64; 2]) -> String {
    let per_kib = ((long - short) / PACKAGE_KIB).max(1.0);
    format!(
        "    fn {name}(bytes: u32) -> Weight {{\n        \
             us({}).saturating_add(us({}).saturating_mul(u64::from(bytes.div_ceil(1_024))))\n    }}\n",
        grouped(two_digits(short)),
        grouped(two_digits(per_kib)),
    )
}

fn two_digits(us: f64) -> u64 {
    let us = us.max(1.0).ceil() as u64;
    let mut unit = 1;
    while us / unit >= 100 {
        unit *= 10;
    }
    us.div_ceil(unit) * unit
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push('_');
        }
        grouped.push(digit);
    }
    grouped
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} cores of {}", model.unwrap_or("an unknown processor"))
}

fn today() -> String {
    let date = Command::new("date").args(["-u", "+%F"]).output();
    date.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default()
}
