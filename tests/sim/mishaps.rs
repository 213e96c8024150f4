//! What goes wrong in a world: the planned faults, when their time has come.

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::faults::Fault;
use crate::network::Weather;
use crate::power::Power;
use crate::random::bytes;
use crate::world::{Event, World};

impl World {
    pub fn plan_fault(&mut self) {
        let planned = self.plan.next();
        self.queue.after(planned.after_ms, Event::Fault(planned.fault, planned.lasts_ms));
    }

    pub fn go_wrong(&mut self, fault: Fault, lasts_ms: u64) {
        if self.calm {
            return;
        }
        self.log.note(self.queue.now_ms(), format_args!("for {lasts_ms} ms: {fault:?}"));
        match &fault {
            Fault::Cut(sides) => {
                self.counts.cuts += 1;
                self.network.cut(sides.clone());
            }
            Fault::Weather(weather) => {
                self.counts.weathers += 1;
                self.network.weather = *weather;
            }
            Fault::Slow(node, by_ms) => {
                self.counts.slow += 1;
                self.network.slow(*node, *by_ms);
            }
            Fault::Crash(node) => {
                if self.nodes[*node].is_running() {
                    self.armed[*node] = Some((lasts_ms, None));
                    self.fall(*node);
                }
            }
            Fault::Blackout => {
                self.counts.blackouts += 1;
                for node in 0..self.nodes.len() {
                    if self.nodes[node].is_running() {
                        // They come back one after the other.
                        self.armed[node] = Some((lasts_ms * (node as u64 + 1) / 2, None));
                        self.fall(node);
                    }
                }
            }
            Fault::CrashAtWrite { node, writes, again } => {
                if let Some(power) = self.nodes[*node].power() {
                    self.armed[*node] = Some((lasts_ms, *again));
                    power.goes_after(*writes);
                }
            }
        }
        self.queue.after(lasts_ms, Event::Over(fault));
        self.plan_fault();
    }

    pub fn over(&mut self, fault: Fault) {
        match fault {
            Fault::Cut(_) => self.network.cut(vec![0; self.nodes.len()]),
            Fault::Weather(_) => self.network.weather = Weather::CALM,
            Fault::Slow(node, _) => self.network.slow(node, 0),
            // A machine's darkness begins when its power goes.
            Fault::Crash(_) | Fault::Blackout | Fault::CrashAtWrite { .. } => {}
        }
    }

    pub fn fall(&mut self, node: usize) {
        let at_write = self.nodes[node].power().is_none_or(Power::is_lost);
        *(if at_write { &mut self.counts.crashes_at_write } else { &mut self.counts.crashes }) += 1;
        let (dark_ms, again) = self.armed[node].take().unwrap_or((1_000, None));
        if again.is_some() {
            self.armed[node] = Some((dark_ms, None));
        }
        self.log.note(self.queue.now_ms(), format_args!("{node} loses power for {dark_ms} ms"));
        self.falls += 1;
        let mut tears = StdRng::from_seed(bytes(self.case.seed, "tears", self.falls));
        self.nodes[node].fall(&mut tears);
        self.queue.after(dark_ms, Event::Start { node, writes: again });
    }

    /// Nothing goes wrong any more: every machine has power, and every message arrives.
    pub fn calm_down(&mut self) {
        self.calm = true;
        self.log.note(self.queue.now_ms(), format_args!("nothing goes wrong any more"));
        self.network.heal();
        for node in 0..self.nodes.len() {
            if let Some(power) = self.nodes[node].power() {
                power.lasts();
            }
            self.queue.after(0, Event::Start { node, writes: None });
        }
    }
}
