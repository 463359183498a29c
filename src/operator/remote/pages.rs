//! Lists that come in pages: when one is complete, and when it moved while it was read.

use crate::cloudflare::{Error, Page};

/// No list is longer than this many pages; a longer one is an error, not the end of the list.
pub const MAX_PAGES: u32 = 1000;
pub const FULL_PAGE: u32 = 100;

/// Whether no page comes after this one, with which the list has so many rows.
pub fn is_last<T>(page: &Page<T>, number: u32, rows: usize) -> bool {
    match (page.total_pages, page.total_count) {
        (Some(total), _) => number >= total,
        // Pages may be shorter than what was asked for.
        (None, Some(total)) if (rows as u64) < total => page.rows.is_empty(),
        (None, _) => page.rows.len() < FULL_PAGE as usize,
    }
}

/// All rows of a list, or `None` if it moved each time it was read.
pub async fn read_pages<T, E, F>(mut ask: impl FnMut(u32) -> F) -> Result<Option<Vec<T>>, E>
where
    E: From<Error>,
    F: Future<Output = Result<Page<T>, E>>,
{
    let mut before = None;
    for _ in 0..3 {
        let (rows, totals) = read_once(&mut ask).await?;
        let counts = (rows.len() as u64, totals);
        match counts.1 {
            Totals::Unknown => return Ok(Some(rows)),
            Totals::Same(total) if total == counts.0 => return Ok(Some(rows)),
            // Twice the same disagreement: the total is wrong, not the rows.
            Totals::Same(_) if before == Some(counts) => return Ok(Some(rows)),
            Totals::Same(_) | Totals::Moved => before = Some(counts),
        }
    }
    Ok(None)
}

/// What the pages of one list said of its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Totals {
    Unknown,
    Same(u64),
    Moved,
}

async fn read_once<T, E, F>(ask: &mut impl FnMut(u32) -> F) -> Result<(Vec<T>, Totals), E>
where
    E: From<Error>,
    F: Future<Output = Result<Page<T>, E>>,
{
    let mut rows = Vec::new();
    let mut totals = Totals::Unknown;
    for page in 1..=MAX_PAGES {
        let answer = ask(page).await?;
        let last = is_last(&answer, page, rows.len() + answer.rows.len());
        totals = match (totals, answer.total_count) {
            (Totals::Moved, _) => Totals::Moved,
            (Totals::Same(before), Some(total)) if before != total => Totals::Moved,
            (_, Some(total)) => Totals::Same(total),
            (same, None) => same,
        };
        rows.extend(answer.rows);
        if last {
            return Ok((rows, totals));
        }
    }
    Err(E::from(Error::Lost { cause: format!("the list has more than {MAX_PAGES} pages") }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_list_without_end_is_an_error_and_not_its_end() {
        let mut asked = 0;
        let endless = |page| {
            asked = page;
            let rows = (0..FULL_PAGE).collect::<Vec<u32>>();
            async move { Ok::<_, Error>(Page { rows, page, total_pages: None, total_count: None }) }
        };
        assert!(read_pages(endless).await.is_err());
        assert_eq!(asked, MAX_PAGES);
    }

    #[tokio::test]
    async fn pages_shorter_than_asked_for_do_not_end_the_list() {
        let list = |total_count| {
            move |page: u32| {
                let rows = (0..120_u32).skip(50 * (page as usize - 1)).take(50).collect::<Vec<_>>();
                async move { Ok::<_, Error>(Page { rows, page, total_pages: None, total_count }) }
            }
        };
        assert_eq!(read_pages(list(Some(120))).await.expect("a list").map(|rows| rows.len()), Some(120));
        // A total that is wrong does not go on for ever.
        assert_eq!(read_pages(list(Some(999))).await.expect("a list").map(|rows| rows.len()), Some(120));
    }
}
