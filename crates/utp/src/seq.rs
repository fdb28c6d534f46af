//! Numbers of packets: 16 bits that wrap around.

/// The number of a packet. Two of them compare only by their distance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seq(pub(crate) u16);

impl Seq {
    /// The number `n` later.
    pub(crate) fn plus(self, n: u16) -> Seq {
        Seq(self.0.wrapping_add(n))
    }

    /// The number `n` earlier.
    pub(crate) fn minus(self, n: u16) -> Seq {
        Seq(self.0.wrapping_sub(n))
    }

    /// How many numbers this one is after `earlier`; 0x8000 and more mean that it is before it.
    pub(crate) fn since(self, earlier: Seq) -> u16 {
        self.0.wrapping_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_wrap() {
        assert_eq!(Seq(3).since(Seq(0xfffe)), 5);
        assert_eq!(Seq(0xfffe).plus(5), Seq(3));
        assert_eq!(Seq(3).minus(5), Seq(0xfffe));
        assert!(Seq(0xfffe).since(Seq(3)) >= 0x8000);
    }
}
