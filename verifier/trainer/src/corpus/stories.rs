//! Short stories: plain text, so that the model has seen more than questions.

use super::words::{ANIMALS, COLOURS, NAMES, PLACES, THINGS, WEATHER};
use crate::random::Random;

/// Who and what a story is about.
struct Cast {
    child: &'static str,
    friend: &'static str,
    thing: &'static str,
    colour: &'static str,
    animal: &'static str,
    place: &'static str,
    refuge: &'static str,
    weather: &'static str,
}

/// Tells a story of five sentences.
pub(super) fn tell(random: &mut Random) -> String {
    let people = random.sample(NAMES, 2);
    let places = random.sample(PLACES, 2);
    let cast = Cast {
        child: people[0],
        friend: people[1],
        thing: random.pick(THINGS),
        colour: random.pick(COLOURS),
        animal: random.pick(ANIMALS),
        place: places[0],
        refuge: places[1],
        weather: random.pick(WEATHER),
    };
    let sentences = [opening, discovery, trouble, help, ending].map(|sentence| sentence(random, &cast));
    sentences.join(" ")
}

fn opening(random: &mut Random, cast: &Cast) -> String {
    let Cast { child, place, weather, .. } = cast;
    match random.below(3) {
        0 => format!("On a {weather} day, {child} walked to the {place}."),
        1 => format!("{child} woke up early, for it was a {weather} morning."),
        _ => format!("Long ago, a child named {child} lived beside the {place}."),
    }
}

fn discovery(random: &mut Random, cast: &Cast) -> String {
    let Cast { child, thing, colour, .. } = cast;
    match random.below(3) {
        0 => format!("Behind a door {child} saw a {colour} {thing}."),
        1 => format!("{child} carried a {colour} {thing} everywhere."),
        _ => format!("Nothing was dearer to {child} than a small {colour} {thing}."),
    }
}

fn trouble(random: &mut Random, cast: &Cast) -> String {
    let Cast { child, thing, animal, .. } = cast;
    match random.below(3) {
        0 => format!("A hungry {animal} grabbed the {thing} and ran away."),
        1 => format!("Suddenly the wind blew the {thing} over the wall."),
        _ => format!("When {child} turned around, the {thing} was gone."),
    }
}

fn help(random: &mut Random, cast: &Cast) -> String {
    let Cast { child, friend, refuge, .. } = cast;
    match random.below(3) {
        0 => format!("{friend} heard {child} cry and came to help."),
        1 => format!("\"We will look in the {refuge},\" said {friend}."),
        _ => format!("So {child} asked {friend}, who knew every corner of the {refuge}."),
    }
}

fn ending(random: &mut Random, cast: &Cast) -> String {
    let Cast { child, friend, thing, refuge, .. } = cast;
    match random.below(3) {
        0 => format!("They found the {thing} in the {refuge} and laughed all the way home."),
        1 => format!("From then on {child} and {friend} were best friends."),
        _ => format!("{child} thanked {friend} and never lost the {thing} again."),
    }
}
