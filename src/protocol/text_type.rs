//! The conversions that all types of checked text share.

/// Implements `as_str`, `Display` and the conversion into `String` for a type of checked text, and with the type of an
/// error also the conversion from `String` by `parse`.
macro_rules! text_type {
    ($type:ident, $error:ty) => {
        text_type!($type);

        impl TryFrom<String> for $type {
            type Error = $error;
            fn try_from(text: String) -> Result<Self, $error> {
                Self::parse(&text)
            }
        }
    };
    ($type:ident) => {
        impl $type {
            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$type> for String {
            fn from(text: $type) -> Self {
                text.0.as_ref().into()
            }
        }
    };
}
