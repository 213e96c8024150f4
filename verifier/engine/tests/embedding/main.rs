//! Encoders as their users see them, on synthetic models.

mod equality;
mod files;
mod support;
mod texts;
