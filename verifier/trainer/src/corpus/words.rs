//! The words that the corpus is made of.

pub(super) const NAMES: &[&str] = &[
    "Ada", "Ben", "Cora", "Dan", "Ella", "Finn", "Gus", "Hana", "Ivan", "Jane", "Kofi", "Lena", "Milo",
    "Nora", "Omar", "Pia", "Ravi", "Sara", "Tom", "Vera", "Will", "Yuki",
];

pub(super) const FAMILY_NAMES: &[&str] = &[
    "Archer", "Baker", "Carter", "Dyer", "Fisher", "Fox", "Gold", "Hill", "Hunter", "King", "Lake", "Marsh",
    "Mason", "Miller", "Reed", "Rose", "Stone", "Taylor", "Wells", "Wood",
];

pub(super) const THINGS: &[&str] = &[
    "bag", "ball", "bell", "boat", "book", "bowl", "box", "car", "chair", "clock", "coat", "cup", "desk",
    "door", "drum", "flag", "hat", "key", "kite", "lamp", "map", "pen", "plate", "ring", "rope", "shoe",
    "spoon", "table", "tent", "train",
];

pub(super) const COLOURS: &[&str] = &[
    "black", "blue", "brown", "green", "grey", "orange", "pink", "purple", "red", "silver", "white", "yellow",
];

pub(super) const PLACES: &[&str] = &[
    "attic", "barn", "cellar", "garden", "hall", "kitchen", "library", "market", "office", "park", "school",
    "station",
];

pub(super) const ANIMALS: &[&str] =
    &["bird", "cat", "dog", "duck", "fox", "frog", "goat", "horse", "mouse", "owl"];

pub(super) const WEATHER: &[&str] = &["bright", "cold", "foggy", "rainy", "sunny", "warm", "windy"];
