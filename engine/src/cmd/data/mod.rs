//! How the commands that touch keys are carried out: one file a family, plain functions on [`super::Exec`].

pub(super) mod object;
