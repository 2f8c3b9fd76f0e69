//! The drawn rows: a keyed list of elements that follows a list of values.
//!
//! A row is drawn once. When its value changes, only what is different is changed in place, so that a screen
//! reader does not hear it twice; when it comes to stand elsewhere, it is moved; what stays is not looked at.
//!
//! A new row is a copy of an earlier one of its shape, changed where it is different: nearly all rows are of two or
//! three shapes, and each call into the browser that is saved counts when hundreds come in a second.

use leptos::wasm_bindgen::JsCast;
use leptos::web_sys;

use super::markup::Element;

/// Rows that are remembered to be copied: a message with its sender and without, one's own, a gap, and the same with
/// a link or two.
const MOST_PATTERNS: usize = 8;

/// The rows in one element of the document.
#[derive(Debug)]
pub struct Drawing<T> {
    parent: web_sys::Element,
    rows: Vec<Drawn<T>>,
    patterns: Vec<Pattern>,
}

/// A row that stands nowhere, so it is and stays what its markup says.
#[derive(Debug)]
struct Pattern {
    markup: Element,
    element: web_sys::Element,
}

#[derive(Debug)]
struct Drawn<T> {
    value: T,
    markup: Element,
    element: web_sys::Element,
}

impl<T: PartialEq> Drawing<T> {
    /// Of nothing, in `parent`, whatever the server has rendered there.
    pub fn new(parent: web_sys::Element) -> Self {
        parent.set_text_content(None);
        Self {
            parent,
            rows: Vec::new(),
            patterns: Vec::new(),
        }
    }

    /// Draws `values`, each as `markup` has it. Those of one `id` are one row.
    pub fn draw(&mut self, values: Vec<T>, id: impl Fn(&T) -> u64, markup: impl Fn(&T) -> Element) {
        let mut old: Vec<Option<Drawn<T>>> = std::mem::take(&mut self.rows)
            .into_iter()
            .map(Some)
            .collect();
        // From the last to the first: what stands behind a row is then known.
        let mut behind: Option<web_sys::Element> = None;
        // Of those that stay, the ones below this place are still in their order.
        let mut place = old.len();
        for value in values.into_iter().rev() {
            let is_it = |at: &usize| {
                old[*at]
                    .as_ref()
                    .is_some_and(|row| id(&row.value) == id(&value))
            };
            let found = (0..place).rev().chain(place..old.len()).find(is_it);
            let stays = found.is_some_and(|at| at < place);
            let kept = found
                .and_then(|at| old[at].take())
                .and_then(|row| row.become_value(&value, &markup));
            let is_kept = kept.is_some();
            let drawn = kept.or_else(|| {
                let markup = markup(&value);
                self.build(&markup).map(|element| (markup, element))
            });
            let Some((markup, element)) = drawn else {
                continue;
            };
            if stays && is_kept {
                place = found.unwrap_or(place);
            } else {
                // Fails only for what stands behind something that is not there.
                let _ = self.parent.insert_before(&element, behind.as_deref());
            }
            behind = Some(element.clone());
            self.rows.push(Drawn {
                value,
                markup,
                element,
            });
        }
        self.rows.reverse();
        for gone in old.into_iter().flatten() {
            gone.element.remove();
        }
    }

    /// A new row.
    fn build(&mut self, markup: &Element) -> Option<web_sys::Element> {
        if let Some(pattern) = self
            .patterns
            .iter()
            .find(|pattern| pattern.markup.size() == markup.size())
        {
            let element = copy(&pattern.element)?;
            // Where the two are not that much alike after all, it is made from nothing.
            return if pattern.markup.patch(&element, markup) {
                Some(element)
            } else {
                markup.build()
            };
        }
        let element = markup.build()?;
        if self.patterns.len() < MOST_PATTERNS {
            self.patterns.push(Pattern {
                markup: markup.clone(),
                element: copy(&element)?,
            });
        }
        Some(element)
    }
}

/// Fails only for what is no element.
fn copy(element: &web_sys::Element) -> Option<web_sys::Element> {
    element.clone_node_with_deep(true).ok()?.dyn_into().ok()
}

impl<T: PartialEq> Drawn<T> {
    /// The row when it shows `value`.
    fn become_value(
        self,
        value: &T,
        markup: impl Fn(&T) -> Element,
    ) -> Option<(Element, web_sys::Element)> {
        let Self {
            value: was,
            markup: drawn,
            element,
        } = self;
        if was == *value {
            return Some((drawn, element));
        }
        let next = markup(value);
        if drawn.patch(&element, &next) {
            return Some((next, element));
        }
        element.remove();
        None
    }
}
