//! Closures of few types, for what changes in a view.
//!
//! Each closure is a type of its own, and what Leptos does with it is compiled again for each. Boxed, they
//! share it; so does a part of the page that is hidden where another way would be not to draw it. Together
//! that was a sixth of what a browser downloads.

use leptos::prelude::Effect;

/// Words, or an attribute's value, that change.
pub type Words = Box<dyn FnMut() -> String + Send>;

/// Whether something holds, for an attribute that is there or not.
pub type Holds = Box<dyn FnMut() -> bool + Send>;

/// What is done at an event.
pub type Act<E> = Box<dyn FnMut(E)>;

/// Does `effect` now and whenever something that it asked for changes; never on the server.
pub fn effect(effect: impl FnMut() + 'static) {
    let mut effect: Box<dyn FnMut()> = Box::new(effect);
    Effect::new(move |_| effect());
}

/// See [`Words`].
pub fn words<T: Into<String>>(mut words: impl FnMut() -> T + Send + 'static) -> Words {
    Box::new(move || words().into())
}

/// See [`Holds`].
pub fn holds(holds: impl FnMut() -> bool + Send + 'static) -> Holds {
    Box::new(holds)
}

/// See [`Act`].
pub fn act<E>(act: impl FnMut(E) + 'static) -> Act<E> {
    Box::new(act)
}
