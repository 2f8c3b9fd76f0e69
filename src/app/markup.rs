//! HTML as a value, for what the browser draws itself: the rows of the log, and lists. The server writes it as HTML.
//! The browser builds elements from it, and applies only the differences to existing elements.
//!
//! Texts are text nodes in the browser and escaped on the server, so user input never becomes HTML. Names of elements
//! and attributes are constants of the program.

use std::borrow::Cow;

use leptos::prelude::document;
use leptos::wasm_bindgen::JsCast;
use leptos::web_sys;

/// An element with its children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    tag: &'static str,
    attributes: Vec<(&'static str, Cow<'static, str>)>,
    children: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Element(Element),
    Text(Cow<'static, str>),
}

impl Element {
    /// Creates an empty element. The `tag` is not one of HTML's void elements.
    pub const fn new(tag: &'static str) -> Self {
        Self {
            tag,
            attributes: Vec::new(),
            children: Vec::new(),
        }
    }

    /// Adds an attribute that the element does not have yet.
    pub fn set(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }

    /// Sets the classes.
    pub fn class(self, names: &'static str) -> Self {
        self.set("class", names)
    }

    /// Appends a text.
    pub fn text(mut self, words: impl Into<Cow<'static, str>>) -> Self {
        self.children.push(Node::Text(words.into()));
        self
    }

    /// Appends elements.
    pub fn with(mut self, children: impl IntoIterator<Item = Self>) -> Self {
        self.children
            .extend(children.into_iter().map(Node::Element));
        self
    }

    /// Returns the number of elements and texts, this one included. Elements of the same shape have the same size.
    pub fn size(&self) -> usize {
        let sizes = self.children.iter().map(|child| match child {
            Node::Element(element) => element.size(),
            Node::Text(_) => 1,
        });
        1 + sizes.sum::<usize>()
    }

    /// Returns the element as HTML.
    pub fn to_html(&self) -> String {
        let mut html = String::new();
        self.write(&mut html);
        html
    }

    fn write(&self, html: &mut String) {
        html.push('<');
        html.push_str(self.tag);
        for (name, value) in &self.attributes {
            for part in [" ", name, "=\""] {
                html.push_str(part);
            }
            escape(value, html);
            html.push('"');
        }
        html.push('>');

        for child in &self.children {
            match child {
                Node::Element(element) => element.write(html),
                Node::Text(words) => escape(words, html),
            }
        }

        for part in ["</", self.tag, ">"] {
            html.push_str(part);
        }
    }

    /// Builds a detached element.
    pub fn build(&self) -> Option<web_sys::Element> {
        // Fails only for an invalid name.
        let element = document().create_element(self.tag).ok()?;
        for (name, value) in &self.attributes {
            put(&element, name, value);
        }
        for child in &self.children {
            append(&element, child);
        }
        Some(element)
    }

    /// Changes `element`, which was built from `self`, to `next`. Equal parts are not touched. Returns false, and
    /// changes nothing, if the tags differ.
    pub fn patch(&self, element: &web_sys::Element, next: &Self) -> bool {
        if self.tag != next.tag {
            return false;
        }

        for attribute in &next.attributes {
            if !self.attributes.contains(attribute) {
                put(element, attribute.0, &attribute.1);
            }
        }
        for (name, _) in &self.attributes {
            if next.attributes.iter().all(|(other, _)| other != name) {
                // Fails only for an invalid name.
                let _ = element.remove_attribute(name);
            }
        }

        patch_nodes(element, &self.children, &next.children);
        true
    }
}

fn patch_nodes(parent: &web_sys::Element, was: &[Node], next: &[Node]) {
    let mut place = parent.first_child();
    for (at, node) in next.iter().enumerate() {
        let Some(there) = place else {
            append(parent, node);
            continue;
        };
        place = there.next_sibling();

        let is_done = match (was.get(at), node) {
            (was, node) if was == Some(node) => true,
            (Some(Node::Element(was)), Node::Element(element)) => there
                .dyn_ref()
                .is_some_and(|there| was.patch(there, element)),
            (Some(Node::Text(_)), Node::Text(words)) => {
                there.set_node_value(Some(words));
                true
            }
            _ => false,
        };

        if !is_done && let Some(node) = build(node) {
            // Fails only for a node that is not a child of `parent`.
            let _ = parent.replace_child(&node, &there);
        }
    }

    while let Some(there) = place {
        place = there.next_sibling();
        // Fails only for a node that is not a child of `parent`.
        let _ = parent.remove_child(&there);
    }
}

fn build(node: &Node) -> Option<web_sys::Node> {
    match node {
        Node::Element(element) => element.build().map(Into::into),
        Node::Text(words) => Some(document().create_text_node(words).into()),
    }
}

fn append(parent: &web_sys::Element, node: &Node) {
    if let Some(node) = build(node) {
        // Fails only for a node that an element cannot contain.
        let _ = parent.append_child(&node);
    }
}

fn put(element: &web_sys::Element, name: &str, value: &str) {
    // Fails only for an invalid name.
    let _ = element.set_attribute(name, value);
}

/// Appends `words` to `html`, escaped for text and for attribute values in double quotes.
fn escape(words: &str, html: &mut String) {
    for character in words.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '"' => html.push_str("&quot;"),
            other => html.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_element_is_written_with_all_that_is_in_it() {
        let time = Element::new("time")
            .set("title", "5 \"o'clock\"")
            .text("17:00");
        let row = Element::new("p")
            .class("who")
            .text("a & b ")
            .with([time])
            .with(None);

        assert_eq!(
            row.to_html(),
            "<p class=\"who\">a &amp; b <time title=\"5 &quot;o'clock&quot;\">17:00</time></p>"
        );
    }

    proptest! {
        #[test]
        fn nothing_that_is_said_ends_a_text_or_an_attribute(words in "(?s)([<>\"'&a]|</p>|<!--){0,20}") {
            let html = Element::new("p").set("title", words.clone()).text(words.clone()).to_html();
            let (title, text) = html
                .strip_prefix("<p title=\"").and_then(|rest| rest.strip_suffix("</p>"))
                .and_then(|rest| rest.split_once("\">")).expect("one element");

            prop_assert!(!title.contains(['<', '"']) && !text.contains('<'));
            for part in [title, text] {
                let read = part.replace("&lt;", "<").replace("&quot;", "\"").replace("&amp;", "&");
                prop_assert_eq!(&read, &words);
            }
        }
    }
}
