//! How many jobs at once a network of this machine carries: four validators and five providers, a process each.
//!
//! `cargo build --release && cargo run --release -p assay-node --example jobs -- [together] [SECONDS [AT_ONCE...]] 2>logs`
//!
//! For each number AT_ONCE as many buyers, each with an account of its own, buy answers one after the other for so many
//! seconds, at one node after the other: a new job is asked for when the one before has ended. Their first jobs are
//! spread over the time that one takes, or all asked for `together`. A job has ended right when it was settled as
//! verified and its answer, fetched and opened, is the sum that was asked for. What nobody was drawn for or accepted was
//! refused; what was accepted and ended otherwise is a failure. What the nodes log goes to standard error.

mod buyer;
mod network;
mod report;
#[path = "../load/spread.rs"]
mod spread;
#[path = "../load/usage.rs"]
mod usage;

use std::error::Error;
use std::time::{Duration, Instant};

use assay_node::client::Client;
use assay_node::keys::Key;
use assay_runtime::{Address, UNIT};
use futures::future::{join_all, try_join_all};

use buyer::{Buyer, Market};
use network::Network;
use report::Report;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Validators, and providers beside them.
const VALIDATORS: u32 = 4;
const PROVIDERS: u32 = 5;
/// How long jobs are begun, for each number of them.
const SECONDS: u64 = 40;
/// The numbers that are tried.
const AT_ONCE: [usize; 7] = [1, 4, 16, 32, 64, 96, 128];
/// About what a job takes: over this time buyers begin.
const SPREAD: Duration = Duration::from_secs(8);
/// The word that has all begin at once.
const TOGETHER: &str = "together";
/// Tokens of every buyer: far more than its jobs cost.
const PURSE: u128 = 100 * UNIT;
/// Buyers that get theirs in one transaction.
const GIFTS: usize = 64;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    let spread = match arguments.next_if(|argument| argument == TOGETHER) {
        Some(_) => Duration::ZERO,
        None => SPREAD,
    };
    let seconds = arguments.next().map_or(Ok(SECONDS), |seconds| seconds.parse())?;
    let named = arguments.map(|number| number.parse()).collect::<std::result::Result<Vec<usize>, _>>()?;
    let numbers = if named.is_empty() { AT_ONCE.to_vec() } else { named };
    let network = Network::start(VALIDATORS, PROVIDERS)?;
    let market = Market::of(&Client::connect(&network.nodes[0].rpc).await?, network.model).await?;
    let most = numbers.iter().copied().max().unwrap_or(0);
    let buyers = buyers(&network, most).await?;
    println!("{}", Report::HEAD);
    for at_once in numbers {
        let (start, busy) = (Instant::now(), network.busy()?);
        let end = start + Duration::from_secs(seconds);
        let pace = spread / u32::try_from(at_once.max(1))?;
        let begin = (0..).map(|number| start + pace * number);
        let buying = buyers.iter().take(at_once).zip(begin);
        let buying = buying.map(|(buyer, begin)| buyer.buy_between(&market, begin, end));
        let outcomes: Vec<_> = join_all(buying).await.into_iter().flatten().collect();
        let passed = start.elapsed();
        let processors = (network.busy()? - busy).as_secs_f64() / passed.as_secs_f64();
        let report = Report::of(at_once, passed, outcomes);
        println!("{}", report.row(processors, &network.memory()?));
        report.troubles().for_each(|trouble| println!("    {trouble}"));
    }
    Ok(())
}

/// Buyers with tokens, each connected to one node after the other.
async fn buyers(network: &Network, count: usize) -> Result<Vec<Buyer>> {
    let keys = (0..count).map(|number| Key::development(&format!("//Buyer//{number}")));
    let keys: Vec<_> = keys.collect::<std::result::Result<_, _>>()?;
    let client = Client::connect(&network.nodes[0].rpc).await?;
    let giver = Key::development("//Alice")?;
    for some in keys.chunks(GIFTS) {
        let gift = |key: &Key| {
            let dest = Address::Id(key.account());
            pallet_balances::Call::transfer_keep_alive { dest, value: PURSE }.into()
        };
        client.submit_all(&giver, "giving tokens", some.iter().map(gift).collect()).await?;
    }
    let nodes = network.nodes.iter().cycle();
    let connecting = keys.into_iter().zip(nodes).enumerate().map(|(number, (key, node))| async move {
        Ok::<_, Box<dyn Error + Send + Sync>>(Buyer::new(number, key, Client::connect(&node.rpc).await?))
    });
    try_join_all(connecting).await
}
