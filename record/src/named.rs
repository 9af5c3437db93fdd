//! What every closed set of names has: the list of its values, the name of each, and the name as its text.

/// For an enum that derives strum's `EnumCount`, `IntoStaticStr` and `VariantArray`.
macro_rules! named {
    ($set:ty) => {
        impl $set {
            /// Every value, in the order of declaration.
            pub const ALL: [Self; <Self as strum::EnumCount>::COUNT] =
                *<Self as strum::VariantArray>::VARIANTS.first_chunk().expect("as many as are counted");

            /// The name as written in logs and JSON.
            pub fn name(self) -> &'static str {
                self.into()
            }
        }

        impl std::fmt::Display for $set {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

pub(crate) use named;
