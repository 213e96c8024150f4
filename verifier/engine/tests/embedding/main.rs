//! Encoders as their users see them, on synthetic models.

mod equality;
mod files;
mod frozen;
mod support;
mod texts;
