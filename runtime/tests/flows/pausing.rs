//! A market whose definition waits for a ruling.

use assay_manifest::JobId;
use assay_protocol::job::Phase;
use assay_runtime::RuntimeEvent;
use assay_runtime::executor::Kv;
use pallet_assay_jobs::Event;

use crate::answers::*;
use crate::market::*;

/// Has two liars found wrong; the verdict over the third pauses the definition. Its job, and that liar.
pub fn pause<K: Kv>(market: &mut Market<K>) -> (JobId, [u8; 32]) {
    for _ in 0..2 {
        let (id, liar) = contested(market);
        judge(market, id);
        assert_eq!(market.provider(liar).stake, STAKE - B);
    }
    let (id, liar) = contested(market);
    let events = judge(market, id);
    let is_pause = |event: &RuntimeEvent| matches!(event, RuntimeEvent::Jobs(Event::Paused { .. }));
    assert!(events.iter().any(is_pause));
    (id, liar)
}

/// Submits the verdict that the first verifier was right.
pub fn judge<K: Kv>(market: &mut Market<K>, id: JobId) -> Vec<RuntimeEvent> {
    let verdict = market.verdict(id, Some(right(1)));
    market.take(verdict)
}

/// A job that waits for the validators, one of whose verifiers lies; and the liar.
fn contested<K: Kv>(market: &mut Market<K>) -> (JobId, [u8; 32]) {
    let (id, _, verifiers) = market.revealing(&[right(1), right(1), reject(1)], claim());
    market.wait(id, |phase| matches!(phase, Phase::Refereeing { .. }));
    (id, verifiers[1].provider)
}
