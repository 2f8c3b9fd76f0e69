//! Rows on the screen: a keyed list of elements that follows a list of values.
//!
//! A row is drawn once. If its value changes, only the differences are applied, so that a screen reader does not read
//! it twice. If its position changes, the element is moved. Unchanged rows are not touched.
//!
//! A new row is a copy of an earlier row of the same shape, with the differences applied. Nearly all rows have one of
//! two or three shapes, and at hundreds of rows per second every call into the browser counts.

use leptos::wasm_bindgen::JsCast;
use leptos::web_sys;

use super::markup::Element;

/// The maximum number of rows kept as patterns: a message with and without its sender, an own message, a gap, and
/// each of them with a link or two.
const MOST_PATTERNS: usize = 8;

/// The rows inside one element of the document.
#[derive(Debug)]
pub struct Drawing<T> {
    parent: web_sys::Element,
    rows: Vec<Drawn<T>>,
    patterns: Vec<Pattern>,
}

/// A detached row, which therefore never differs from its markup.
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
    /// Creates an empty list in `parent`, and removes the content that the server rendered there.
    pub fn new(parent: web_sys::Element) -> Self {
        parent.set_text_content(None);
        Self {
            parent,
            rows: Vec::new(),
            patterns: Vec::new(),
        }
    }

    /// Draws `values`, each as its `markup`. Values with the same `id` share one row.
    pub fn draw(&mut self, values: Vec<T>, id: impl Fn(&T) -> u64, markup: impl Fn(&T) -> Element) {
        let mut old: Vec<Option<Drawn<T>>> = std::mem::take(&mut self.rows)
            .into_iter()
            .map(Some)
            .collect();

        // The order is last to first, so that the element after each row is known.
        let mut behind: Option<web_sys::Element> = None;
        // The remaining rows before this position are still in their order.
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
                // Fails only if `behind` is not a child of the parent.
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

    /// Creates the element of a new row.
    fn build(&mut self, markup: &Element) -> Option<web_sys::Element> {
        if let Some(pattern) = self
            .patterns
            .iter()
            .find(|pattern| pattern.markup.size() == markup.size())
        {
            let element = copy(&pattern.element)?;
            // If the pattern differs too much, the row is built from nothing.
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

/// Returns a deep copy of `element`. Fails only for a node that is not an element.
fn copy(element: &web_sys::Element) -> Option<web_sys::Element> {
    element.clone_node_with_deep(true).ok()?.dyn_into().ok()
}

impl<T: PartialEq> Drawn<T> {
    /// Changes the row to show `value`. Removes the row and returns `None` if its element cannot be changed to that.
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
