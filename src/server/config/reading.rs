//! Reads the raw values one by one and gathers what is wrong with them, so that all of it is told at once.

use crate::server::config::raw::{Mistake, Raw};

/// See the [module docs](self).
#[derive(Debug)]
pub(super) struct Reading<'a> {
    raw: &'a Raw,
    mistakes: Vec<Mistake>,
}

impl<'a> Reading<'a> {
    /// Nothing is wrong yet with `raw`.
    pub(super) const fn new(raw: &'a Raw) -> Self {
        Self {
            raw,
            mistakes: Vec::new(),
        }
    }

    /// The value of `name`, read by `parse`, whose error is what would have been allowed. `None` is a mistake.
    pub(super) fn value<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        let given = self.raw.get(name);
        let text = given.last().map_or("", |given| &given.text);
        parse(text)
            .map_err(|allowed| self.reject(name, allowed))
            .ok()
    }

    /// All values of `name` that can be read; each of the others is a mistake.
    pub(super) fn values<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Vec<T> {
        let mut values = Vec::new();
        for given in self.raw.get(name) {
            match parse(&given.text) {
                Ok(value) => values.push(value),
                Err(allowed) => self.mistakes.push(given.mistake(name, allowed)),
            }
        }
        values
    }

    /// That the value of `name` is wrong beside the others; `allowed` says what would be right.
    pub(super) fn reject(&mut self, name: &str, allowed: &str) {
        let mistake = match self.raw.get(name).last() {
            Some(given) => given.mistake(name, allowed),
            None => Mistake::new(format!("--{name} is missing; allowed is {allowed}")),
        };
        self.mistakes.push(mistake);
    }

    /// What was made of the values, unless something is wrong with them.
    ///
    /// # Errors
    /// All mistakes.
    pub(super) fn end<T>(self, made: Option<T>) -> Result<T, Vec<Mistake>> {
        match made {
            Some(made) if self.mistakes.is_empty() => Ok(made),
            _ => Err(self.mistakes),
        }
    }
}
