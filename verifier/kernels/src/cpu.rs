//! Which instruction set runs the kernels.

/// Proof that this CPU runs the instruction set that it names; without one there is no way into the code
/// compiled for that set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu(Level);

/// Instruction sets for which [`lanes`](crate::lanes) is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// What the target always has. Without hardware FMA, `mul_add` is computed by the standard library.
    Portable,
    /// AVX2 with FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, DQ, VL and VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// NEON with the dot products of Armv8.2.
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Cpu {
    /// The best set that this CPU has.
    pub fn detect() -> Self {
        Self::available().last().copied().unwrap_or(Self(Level::Portable))
    }

    /// What runs everywhere.
    pub const fn portable() -> Self {
        Self(Level::Portable)
    }

    /// Every set that this CPU has, slowest first.
    pub fn available() -> Vec<Self> {
        #[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), expect(unused_mut))]
        let mut sets = vec![Self(Level::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni");
            if avx2 {
                sets.push(Self(Level::Avx2));
            }
            if avx2 && avx512 {
                sets.push(Self(Level::Avx512));
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon")
            && std::arch::is_aarch64_feature_detected!("dotprod")
        {
            sets.push(Self(Level::Neon));
        }
        sets
    }

    /// The set that has this [`short_name`](Self::short_name); none where this CPU lacks it.
    pub fn named(short_name: &str) -> Option<Self> {
        Self::available().into_iter().find(|set| set.short_name() == short_name)
    }

    /// What users call it.
    pub const fn short_name(self) -> &'static str {
        match self.0 {
            Level::Portable => "scalar",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
            #[cfg(target_arch = "aarch64")]
            Level::Neon => "neon",
        }
    }

    /// A name for logs.
    pub const fn name(self) -> &'static str {
        match self.0 {
            Level::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2+fma",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512+vnni",
            #[cfg(target_arch = "aarch64")]
            Level::Neon => "neon+dotprod",
        }
    }

    pub(crate) const fn level(self) -> Level {
        self.0
    }
}

/// Makes methods of [`Cpu`] that run one source compiled for the instruction set of the token.
macro_rules! dispatched {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) = $source:path;)+) => {
        impl $crate::cpu::Cpu {$(
            $(#[$meta])*
            $vis fn $name(self, $($arg: $type),*) {
                use $crate::cpu::Level;
                match self.level() {
                    Level::Portable => $source($crate::lanes::isa::Portable, $($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => {
                        #[target_feature(enable = "avx2,fma,f16c")]
                        fn compiled($($arg: $type),*) {
                            // SAFETY: this function has the features.
                            $source(unsafe { $crate::x86_64::Avx2::new() }, $($arg),*)
                        }
                        // SAFETY: a token of this level exists only where `available` found the features.
                        unsafe { compiled($($arg),*) }
                    }
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 => {
                        #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
                        fn compiled($($arg: $type),*) {
                            // SAFETY: this function has the features.
                            $source(unsafe { $crate::x86_64::Avx512::new() }, $($arg),*)
                        }
                        // SAFETY: a token of this level exists only where `available` found the features.
                        unsafe { compiled($($arg),*) }
                    }
                    #[cfg(target_arch = "aarch64")]
                    Level::Neon => {
                        #[target_feature(enable = "neon,dotprod")]
                        fn compiled($($arg: $type),*) {
                            // SAFETY: this function has the features.
                            $source(unsafe { $crate::aarch64::Neon::new() }, $($arg),*)
                        }
                        // SAFETY: a token of this level exists only where `available` found the features.
                        unsafe { compiled($($arg),*) }
                    }
                }
            }
        )+}
    };
}
pub(crate) use dispatched;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_is_found_by_its_name() {
        for set in Cpu::available() {
            assert_eq!(Cpu::named(set.short_name()), Some(set));
        }
        assert_eq!(Cpu::named("scalar"), Some(Cpu::portable()));
        assert_eq!(Cpu::named("mmx"), None);
    }
}
