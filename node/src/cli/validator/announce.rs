//! `assay validator announce`: where a validator's node can be reached, for who knows nobody else there.

use assay_runtime::{AccountId, Hash, Runtime};
use pallet_assay_validators::{ADDRESS_BYTES_MAX, ADDRESSES_MAX, Announced, Call};
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::table;
use crate::network::{Multiaddr, names_peer};

/// What is on the ledger now.
#[derive(Serialize)]
struct Said {
    account: AccountId,
    block: Hash,
    addresses: Vec<Multiaddr>,
}

/// Puts these in the place of those before; without any, nobody is asked to try the validator first.
///
/// # Errors
/// [`Failure`] when there are too many, one is too long or names no peer, or the ledger refuses.
pub async fn announce(context: &Context, addresses: Vec<Multiaddr>) -> Result<(), Failure> {
    let announced = announced(&addresses)?;
    let key = context.key()?;
    let client = context.client().await?;
    let call = Call::<Runtime>::announce { addresses: announced };
    let included = client.submit(&key, "announcing addresses", call.into()).await?;
    let said = Said { account: key.account(), block: included.block, addresses };
    context.output().result(&said, |Said { account, block, addresses }| {
        let mut rows = vec![("account", account.to_string())];
        rows.extend(addresses.iter().map(|address| ("address", address.to_string())));
        if addresses.is_empty() {
            rows.push(("address", "none any more".into()));
        }
        rows.push(("block", format!("{block:?}")));
        table::fields(&rows)
    })?;
    Ok(())
}

/// As the ledger takes them.
fn announced(addresses: &[Multiaddr]) -> Result<Announced, Failure> {
    let refused = |what: String| {
        Failure::usage(format!("announcing addresses: {what}")).hint(
            "name at most two, such as /ip4/HOST/udp/30334/quic-v1/p2p/NAME; NAME is in the log of the node's start",
        )
    };
    let bytes = |address: &Multiaddr| {
        if !names_peer(address) {
            return Err(refused(format!("{address} does not end with the node's name, /p2p/NAME")));
        }
        let too_long = |_| refused(format!("{address} has more than {ADDRESS_BYTES_MAX} bytes"));
        address.to_vec().try_into().map_err(too_long)
    };
    let all: Vec<_> = addresses.iter().map(bytes).collect::<Result<_, _>>()?;
    all.try_into().map_err(|_| refused(format!("there are more than {ADDRESSES_MAX}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    fn refusal(addresses: &[&str]) -> String {
        let addresses: Vec<_> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        announced(&addresses).unwrap_err().cause()
    }

    #[test]
    fn what_would_lead_nobody_anywhere_is_refused_before_it_costs_a_fee() {
        let good = format!("/dns4/{}.example/udp/30334/quic-v1/p2p/{PEER}", "a".repeat(40));
        let parsed: Multiaddr = good.parse().unwrap();
        assert_eq!(announced(&[parsed.clone(), parsed]).unwrap().len(), 2);
        assert!(announced(&[]).unwrap().is_empty());
        assert!(refusal(&["/ip4/192.0.2.1/udp/30334/quic-v1"]).contains("/p2p/NAME"));
        assert!(refusal(&[&good, &good, &good]).contains("more than 2"));
        let long = format!("/dns4/{}.example/udp/30334/quic-v1/p2p/{PEER}", "a".repeat(120));
        assert!(refusal(&[&long]).contains("128 bytes"));
    }
}
