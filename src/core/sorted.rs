//! Values in order, so that those of one place are found without a look at all the others.

use std::cmp::Ordering;
use std::ops::Deref;
use std::{slice, vec};

/// What the values are looked up by comes first in their order.
pub trait Ordered {
    fn order(&self, other: &Self) -> Ordering;
}

#[derive(Debug, Clone, PartialEq)]
pub struct Sorted<T>(Vec<T>);

impl<T: Ordered> From<Vec<T>> for Sorted<T> {
    fn from(mut values: Vec<T>) -> Self {
        values.sort_by(T::order);
        Sorted(values)
    }
}

impl<T: Ordered> Sorted<T> {
    /// Those of one place; `place`: where a value is, seen from there.
    pub fn at(&self, place: impl Fn(&T) -> Ordering) -> &[T] {
        let (_, rest) = self.split_at(self.partition_point(|value| place(value).is_lt()));
        &rest[..rest.partition_point(|value| place(value).is_eq())]
    }

    /// Puts a value in; those that are `old` go.
    pub fn replace(&mut self, value: T, old: impl Fn(&T) -> bool) {
        self.0.retain(|known| !old(known));
        let at = self.partition_point(|known| known.order(&value).is_le());
        self.0.insert(at, value);
    }
}

impl<T> Deref for Sorted<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'a, T> IntoIterator for &'a Sorted<T> {
    type Item = &'a T;
    type IntoIter = slice::Iter<'a, T>;

    fn into_iter(self) -> slice::Iter<'a, T> {
        self.iter()
    }
}

impl<T> IntoIterator for Sorted<T> {
    type Item = T;
    type IntoIter = vec::IntoIter<T>;

    fn into_iter(self) -> vec::IntoIter<T> {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Ordered for (u8, char) {
        fn order(&self, other: &Self) -> Ordering {
            self.cmp(other)
        }
    }

    #[test]
    fn those_of_one_place_are_found_in_order_also_after_one_was_replaced() {
        let mut sorted = Sorted::from(vec![(2, 'c'), (1, 'x'), (2, 'a'), (3, 'y')]);
        let at = |sorted: &Sorted<(u8, char)>, place: u8| {
            sorted.at(|value| value.0.cmp(&place)).iter().map(|value| value.1).collect::<String>()
        };
        let all = |sorted: &Sorted<(u8, char)>| [0, 1, 2, 3, 4].map(|place| at(sorted, place));
        assert_eq!(all(&sorted), ["", "x", "ac", "y", ""]);
        sorted.replace((2, 'b'), |value| value.1 == 'y');
        assert_eq!(all(&sorted), ["", "x", "abc", "", ""]);
        sorted.replace((0, 'a'), |value| value.1 == 'a');
        assert_eq!(all(&sorted), ["a", "x", "bc", "", ""]);
    }
}
