//! Lists that come in pages: when one is complete, and when it moved while it was read.
//!
//! A list is complete when its pages have as many different rows as its total says, or, where the total is absent or
//! wrong, when a page is empty or shorter than one before it: a first page that is shorter than what was asked for may be
//! as long as pages get, unless the second one is the same. A page beyond the end may be refused, or repeat another one. A list
//! that agrees with itself proves nothing. One whose pages never fit together, because their order is not always the same, one
//! that shows another page than was asked for, or null, and one whose end is refused, is asked for in one piece.
//!
//! Three pages of a list of 250 rows, for example, 100 to a page:
//!
//! - Rows 1–100, 101–200 and 201–250, each page with the total 250: they are 250 different rows, and that is the list.
//! - Row 50 is deleted after the first page was read: rows 1–100 with the total 250, then 102–201 and 202–250 with the total
//!   249. Row 101 moved onto the first page and was never shown; the totals differ, so the list is read again.
//! - The order is another one for each page, and the second page repeats ten rows of the first: 240 different rows, and the
//!   total is 250. The list is read again, until a page is empty. If it has the same 240 rows then, the total is wrong.
//!
//! What does not fit in three reads is asked for in one piece.

use std::collections::{HashMap, HashSet};

use crate::cloudflare::{Error, ErrorClass, FULL_PAGE, Object, Page, WHOLE};
use crate::operator::stop::Stop;

/// No list is longer than this many pages; a longer one is an error, not the end of the list.
pub(super) const MAX_PAGES: u32 = 1000;

/// The pages of one list, as they come.
#[derive(Debug, Default)]
pub struct Pages {
    seen: HashSet<String>,
    /// The page that was taken last.
    page: u32,
    /// Rows of the longest page.
    longest: usize,
    /// Rows of all pages, also of those that came before.
    rows: usize,
}

/// Where a page lies in its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Others follow.
    Within,
    Last,
    /// It repeats another one, since it lies beyond the end.
    Beyond,
    /// It is the whole list, which has no pages: the first one came again as the second, and is shorter or longer than was
    /// asked for, or has as many rows as the total says.
    Whole,
}

/// What asking for a page may end with.
pub trait PageError: From<Error> {
    fn answer(&self) -> Option<&Error>;

    /// Whether Cloudflare refuses the page. Of one that is not the first, that may mean that there is none.
    fn refuses_page(&self) -> bool {
        self.answer().is_some_and(|error| matches!(error.class(), ErrorClass::Rejected | ErrorClass::Gone))
    }
}

impl PageError for Error {
    fn answer(&self) -> Option<&Error> {
        Some(self)
    }
}

impl PageError for Stop {
    fn answer(&self) -> Option<&Error> {
        match self {
            Stop::Cloudflare(error) => Some(error),
            Stop::Queued | Stop::Occupied { .. } | Stop::Crowded | Stop::Conflict | Stop::Stopping | Stop::Late => None,
            Stop::Kubernetes(_) => None,
        }
    }
}

impl Pages {
    pub fn next(&self) -> Result<u32, Error> {
        if self.page >= MAX_PAGES {
            return Err(Error::Lost { cause: format!("the list has more than {MAX_PAGES} pages") });
        }
        Ok(self.page + 1)
    }

    /// Takes the page that was asked for; an answer that is another page is an error.
    pub fn take<T: Object>(&mut self, answer: &Page<T>) -> Result<Place, Error> {
        self.page += 1;
        let page = self.page;
        if answer.null {
            return Err(Error::Lost { cause: format!("page {page} of a list is null") });
        }
        if answer.page != page {
            let cause = format!("page {page} of a list was requested, but page {} was returned", answer.page);
            return Err(Error::Lost { cause });
        }
        let before = self.seen.len();
        self.seen.extend(answer.rows.iter().map(|row| row.id().to_owned()));
        self.rows += answer.rows.len();
        if page > 1 && !answer.rows.is_empty() && self.seen.len() == before {
            if self.is_whole_list(answer) {
                return Ok(Place::Whole);
            }
            if self.is_beyond(answer) {
                return Ok(Place::Beyond);
            }
            // The last page of a list without an order may have no new row either.
            let is_short = answer.total_count.is_some() && answer.rows.len() < self.longest;
            if !is_short {
                let cause = format!("page {page} of a list has only rows that earlier pages already had");
                return Err(Error::Lost { cause });
            }
        }
        let place = if self.is_last(answer) { Place::Last } else { Place::Within };
        self.longest = self.longest.max(answer.rows.len());
        Ok(place)
    }

    /// Whether the pages have as many rows as the total says, or none of them twice where it is absent.
    pub fn has_all(&self, total: Option<u64>) -> bool {
        self.seen.len() as u64 == total.unwrap_or(self.rows as u64)
    }

    /// Whether a second page that repeats the first one is the whole list.
    fn is_whole_list<T>(&self, repeated: &Page<T>) -> bool {
        let (rows, full) = (self.longest, FULL_PAGE as usize);
        let agrees = match (repeated.total_count, repeated.total_pages) {
            (Some(total), _) => total == self.seen.len() as u64,
            // As long as was asked for: there may be more.
            (None, pages) => rows != full && pages.is_none_or(|pages| pages as usize <= rows.div_ceil(full)),
        };
        self.page == 2 && repeated.rows.len() == rows && agrees
    }

    /// Whether a page that has only rows of earlier ones is numbered higher than the list has pages. Where that is the second
    /// one, the server may be one that answers page 1 to every page, unless it says that page 1 is not full.
    fn is_beyond<T>(&self, repeated: &Page<T>) -> bool {
        let size = u64::from(repeated.per_page.unwrap_or(FULL_PAGE));
        let counted = repeated.total_count.map(|total| total.div_ceil(size));
        let pages = repeated.total_pages.map(u64::from).or(counted);
        let knows_pages = self.page > 2 || repeated.per_page.is_some() && (self.longest as u64) < size;
        knows_pages && pages.is_some_and(|pages| u64::from(self.page) > pages)
    }

    fn is_last<T>(&self, answer: &Page<T>) -> bool {
        if answer.rows.is_empty() {
            return true;
        }
        let full = answer.rows.len() >= answer.per_page.unwrap_or(FULL_PAGE) as usize;
        match (answer.total_pages, answer.total_count) {
            // Without a total of rows nothing else speaks for a total of pages.
            (Some(total), None) => self.page >= total && !full,
            // Both may be those of a page that is not the last.
            (Some(_), Some(total)) if full && total <= answer.rows.len() as u64 => false,
            (Some(total), Some(_)) => self.page >= total,
            // Pages may be shorter than what was asked for.
            (None, Some(total)) if (self.seen.len() as u64) < total => false,
            (None, Some(_)) => !full,
            (None, None) => answer.rows.len() < self.longest,
        }
    }
}

/// All rows of a list, each once, or `None` if it moved each time it was read, and lacks rows where it comes in one piece.
pub async fn read_pages<T, E, F>(mut ask: impl FnMut(u32) -> F) -> Result<Option<Vec<T>>, E>
where
    T: Object,
    E: PageError,
    F: Future<Output = Result<Page<T>, E>>,
{
    let mut before = None;
    let mut earlier: HashSet<String> = HashSet::new();
    let mut unfit = None;
    for attempt in 0..3 {
        // A total that was wrong once does not tell where the list ends.
        let (rows, totals) = read_once(&mut ask, attempt > 0, &mut unfit).await?;
        if totals == Totals::Unknown || totals == Totals::Same(rows.len() as u64) {
            return Ok(Some(rows));
        }
        let same = earlier.len() == rows.len() && rows.iter().all(|row| earlier.contains(row.id()));
        // Twice the same rows, and an empty page after them: the total is wrong, not the rows.
        if same && before == Some(totals) && matches!(totals, Totals::Same(_)) {
            return Ok(Some(rows));
        }
        earlier.extend(rows.iter().map(|row| row.id().to_owned()));
        before = Some(totals);
        if totals == Totals::Refused {
            break;
        }
    }
    let whole = match (ask(WHOLE).await, &unfit) {
        (Err(error), Some(unfit)) if error.refuses_page() => return Err(unfit.clone().into()),
        (whole, _) => whole?,
    };
    let Page { mut rows, total_count, total_pages, .. } = whole;
    let (came, full) = (rows.len(), FULL_PAGE as usize);
    let mut ids = HashSet::new();
    rows.retain(|row| ids.insert(row.id().to_owned()));
    let fits = total_count.is_none_or(|total| total == rows.len() as u64 || total == came as u64);
    let ends_full = rows.len().is_multiple_of(full);
    let is_whole = match (&unfit, total_count) {
        // Where the total is too high, a page is asked for that does not exist; but the list may have been cut at a full page.
        (None, _) => fits || before == Some(Totals::Refused) && !ends_full,
        (Some(_), Some(_)) => fits,
        // A server that does not know pages may cut this list, too; and there is nothing only if both say so.
        (Some(_), None) if rows.is_empty() => earlier.is_empty(),
        (Some(_), None) => {
            !earlier.is_empty() && !ends_full && total_pages.is_none_or(|pages| pages as usize <= came.div_ceil(full))
        }
    };
    match unfit {
        _ if is_whole && earlier.is_subset(&ids) => Ok(Some(rows)),
        Some(unfit) => Err(unfit.into()),
        None => Ok(None),
    }
}

/// What the pages of one list said of its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Totals {
    Unknown,
    Same(u64),
    Moved,
    /// A page was refused, or is not the one that was asked for, so that what came before it may not be all.
    Refused,
}

/// Reads a list to its last page; `distrust`: while its total and its rows disagree, to an empty page. `unfit`: why a page
/// is not the one that was asked for.
async fn read_once<T, E, F>(
    ask: &mut impl FnMut(u32) -> F,
    distrust: bool,
    unfit: &mut Option<Error>,
) -> Result<(Vec<T>, Totals), E>
where
    T: Object,
    E: PageError,
    F: Future<Output = Result<Page<T>, E>>,
{
    let mut pages = Pages::default();
    let mut totals = Totals::Unknown;
    let mut rows: Vec<T> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut repeated = false;
    loop {
        let page = pages.next()?;
        let answer = match ask(page).await {
            Err(error) if page > 1 && error.refuses_page() => return Ok((rows, Totals::Refused)),
            answer => answer?,
        };
        let place = match pages.take(&answer) {
            Ok(place) => place,
            Err(error) => {
                *unfit = Some(error);
                rows.extend(answer.rows);
                return Ok((rows, Totals::Refused));
            }
        };
        if place == Place::Whole {
            return Ok((rows, totals));
        }
        let (is_end, start) = (answer.rows.is_empty() || place == Place::Beyond, rows.len());
        totals = match (totals, answer.total_count) {
            (Totals::Moved | Totals::Refused, _) => totals,
            (Totals::Same(before), Some(total)) if before != total => Totals::Moved,
            (_, Some(total)) => Totals::Same(total),
            (same, None) => same,
        };
        for row in answer.rows {
            match places.get(row.id()) {
                // It moved onto a later page, and what came later is younger. Another one may have moved the other way.
                Some(place) => {
                    rows[*place] = row;
                    repeated |= *place < start;
                }
                None => {
                    places.insert(row.id().to_owned(), rows.len());
                    rows.push(row);
                }
            }
        }
        let agreed = totals == Totals::Unknown || totals == Totals::Same(rows.len() as u64);
        if is_end || place == Place::Last && (agreed || !distrust) {
            let moved = repeated && totals == Totals::Unknown;
            return Ok((rows, if moved { Totals::Moved } else { totals }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloudflare::ResponseHead;

    #[derive(Debug, Clone, PartialEq)]
    struct Row(String);

    impl Object for Row {
        fn id(&self) -> &str {
            &self.0
        }
    }

    fn rows(from: usize, to: usize) -> Vec<Row> {
        (from..to).map(|n| Row(n.to_string())).collect()
    }

    /// Reads a list whose pages the test makes. Returns how many rows it has, and the calls that it took.
    async fn read(mut page: impl FnMut(u32) -> Page<Row>) -> (Result<Option<usize>, Error>, usize) {
        read_some(|number| Ok(page(number))).await
    }

    /// The same of a list some pages of which are refused.
    async fn read_some(mut page: impl FnMut(u32) -> Result<Page<Row>, Error>) -> (Result<Option<usize>, Error>, usize) {
        let mut calls = 0;
        let list = read_pages(|number| {
            calls += 1;
            let answer = page(number);
            async move { answer }
        });
        let list = list.await.map(|rows| rows.map(|rows| rows.len()));
        (list, calls)
    }

    /// Page `page` of a list of so many rows, in pages of that size.
    fn cut(page: u32, size: usize, count: usize) -> Page<Row> {
        let start = (size * (page as usize - 1)).min(count);
        let rows = rows(start, (start + size).min(count));
        Page { rows, null: false, page, per_page: None, total_pages: None, total_count: None }
    }

    #[tokio::test]
    async fn a_list_without_end_is_an_error_and_not_its_end() {
        let (list, calls) = read(|page| cut(page, 100, usize::MAX)).await;
        assert!(list.is_err());
        assert_eq!(calls, MAX_PAGES as usize);
    }

    #[tokio::test]
    async fn pages_shorter_than_asked_for_do_not_end_the_list() {
        for (total_count, per_page, calls) in
            [(Some(120), None, 3), (None, Some(50), 3), (None, Some(100), 3), (None, None, 3)]
        {
            let list = read(|page| Page { total_count, per_page, ..cut(page, 50, 120) }).await;
            assert_eq!((list.0.expect("a list"), list.1), (Some(120), calls));
        }
    }

    #[tokio::test]
    async fn a_wrong_total_is_believed_to_be_wrong_only_after_an_empty_page() {
        for total in [90, 100, 119, 121, 999] {
            for total_pages in [None, Some(1), Some(2), Some(4)] {
                let page = |page| Page { total_count: Some(total), total_pages, ..cut(page, 100, 120) };
                let mut empty = 0;
                let list = read(|number| {
                    let answer = page(number);
                    empty += usize::from(answer.rows.is_empty());
                    answer
                });
                assert_eq!(list.await.0.expect("a list"), Some(120), "{total} {total_pages:?}");
                assert!(empty > 0, "{total} {total_pages:?}");
            }
        }
    }

    fn refused(status: u16) -> Error {
        let head = ResponseHead { status, date: None, ray: None, limits: Default::default() };
        Error::Answered { status, errors: Vec::new(), head: Box::new(head) }
    }

    /// What totals may say of 120 rows, and of 30.
    const TOTALS: [(usize, [Option<u64>; 5]); 2] = [
        (120, [None, Some(119), Some(120), Some(121), Some(999)]),
        (30, [None, Some(29), Some(30), Some(31), Some(99)]),
    ];

    #[tokio::test]
    async fn where_a_page_beyond_the_end_is_refused_the_list_is_read_in_one_piece() {
        for (count, totals) in TOTALS {
            for (status, total_count) in
                [400, 404, 416].into_iter().flat_map(|status| totals.map(|total| (status, total)))
            {
                let page = |page: u32| match page {
                    WHOLE => Ok(Page { page, total_count, ..cut(1, 1000, count) }),
                    _ if 100 * (page as usize - 1) >= count => Err(refused(status)),
                    _ => Ok(Page { total_count, ..cut(page, 100, count) }),
                };
                let (list, calls) = read_some(page).await;
                assert_eq!(list.expect("a list"), Some(count), "{status} {total_count:?}");
                assert!(calls <= 6, "{status} {total_count:?}: {calls} calls");
            }
        }
    }

    #[tokio::test]
    async fn a_page_that_is_refused_is_no_end_where_rows_are_missing() {
        // What comes in one piece lacks rows, or ends with a full page.
        for (whole, total_count) in [(30, Some(150)), (100, Some(150)), (30, None), (99, None)] {
            let page = |page: u32| match page {
                WHOLE => Ok(Page { page, total_count, ..cut(1, 1000, whole) }),
                1 => Ok(Page { total_count, ..cut(1, 100, 150) }),
                _ => Err(refused(400)),
            };
            assert_eq!(read_some(page).await.0.expect("no error"), None, "{whole} {total_count:?}");
        }
        for error in [refused(500), refused(403), refused(429), Error::Lost { cause: "it".into() }] {
            let page = |page: u32| if page == 2 { Err(error.clone()) } else { Ok(cut(page, 100, 150)) };
            assert_eq!(read_some(page).await, (Err(error.clone()), 2));
        }
        let (list, calls) = read_some(|_| Err(refused(404))).await;
        assert_eq!((list.is_err(), calls), (true, 1), "not even a first page");
    }

    #[tokio::test]
    async fn a_page_beyond_the_end_that_repeats_the_last_one_ends_the_list() {
        for (count, totals) in TOTALS {
            for total_count in totals {
                for total_pages in [None, Some(1), Some(2), Some(4)] {
                    // Nothing shows that the server knows pages at all, or how many rows there are.
                    if total_pages > Some(count.div_ceil(100) as u32) && (count == 30 || total_count.is_none()) {
                        continue;
                    }
                    let end = count.div_ceil(100) as u32;
                    let page = |page: u32| Page { page, per_page: Some(100), ..cut(page.min(end), 100, count) };
                    let list = read(|number| Page { total_count, total_pages, ..page(number) });
                    let (list, calls) = list.await;
                    assert_eq!(list.expect("a list"), Some(count), "{total_count:?} {total_pages:?}");
                    assert!(calls <= 24, "{total_count:?} {total_pages:?}: {calls} calls");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_page_longer_than_was_asked_for_that_comes_again_is_the_whole_list() {
        for (total_count, total_pages) in
            [(None, None), (Some(250), None), (Some(250), Some(3)), (None, Some(3)), (None, Some(1))]
        {
            let (list, calls) = read(|page| Page { page, total_count, total_pages, ..cut(1, 250, 250) }).await;
            assert_eq!((list.expect("a list"), calls), (Some(250), 2), "{total_count:?} {total_pages:?}");
        }
        let (list, calls) = read(|page| Page { page, total_count: Some(100), ..cut(1, 100, 100) }).await;
        assert_eq!((list.expect("a list"), calls), (Some(100), 2));
        // There are more, and pages may be as long as the server likes.
        for (total_count, total_pages) in [(Some(300), None), (None, Some(4))] {
            assert!(read(|page| Page { page, total_count, total_pages, ..cut(1, 250, 300) }).await.0.is_err());
        }
        let (list, calls) = read(|page| cut(page, 250, 300)).await;
        assert_eq!((list.expect("a list"), calls), (Some(300), 2));
    }

    #[tokio::test]
    async fn a_row_that_is_twice_on_one_page_counts_once_and_did_not_move() {
        let twice = |page: Page<Row>| Page {
            rows: page.rows.iter().chain(&page.rows[..page.rows.len().min(1)]).cloned().collect(),
            ..page
        };
        for (count, calls) in [(30, 2), (120, 2)] {
            let list = read(|page| twice(cut(page, 100, count))).await;
            assert_eq!((list.0.expect("a list"), list.1), (Some(count), calls));
            let list = read(|page| Page { page, ..twice(cut(1, 1000, count)) }).await;
            assert_eq!((list.0.expect("a list"), list.1), (Some(count), 2), "and every page is the whole list");
        }
        // Nor does it stop a list that is read in one piece.
        for total_count in [None, Some(150), Some(151)] {
            let mut calls = 0;
            let (list, _) = read(|page| {
                calls += 1;
                let whole = || Page { page, total_count, ..twice(cut(1, 1000, 150)) };
                if page == WHOLE { whole() } else { shuffled(page, calls, total_count) }
            })
            .await;
            assert_eq!(list.expect("a list"), Some(150), "{total_count:?}");
        }
    }

    #[tokio::test]
    async fn a_server_that_answers_page_1_to_every_page_and_to_the_whole_list_is_found_out() {
        let info = [(Some(250), Some(3)), (Some(250), None), (None, Some(3)), (None, None)];
        for (total_count, total_pages) in info {
            for echo in [false, true] {
                let list = read(|asked| {
                    let page = if echo { asked } else { 1 };
                    Page { page, total_count, total_pages, ..cut(1, 100, 250) }
                });
                let (list, calls) = list.await;
                assert!(list.is_err(), "{total_count:?} {total_pages:?} {echo}");
                assert_eq!(calls, 3, "{total_count:?} {total_pages:?} {echo}");
            }
        }
    }

    #[tokio::test]
    async fn a_list_whose_pages_repeat_or_have_other_numbers_is_read_in_one_piece() {
        let by_zero = |asked: u32| (asked - 1, cut(asked, 100, 250));
        let always_1 = |_| (1, cut(1, 100, 250));
        let short = |asked: u32| (asked, cut(1, 30, 250));
        let infos = [(Some(250), Some(3)), (Some(250), None), (None, Some(3)), (None, None)];
        for (page, info) in [by_zero as fn(u32) -> (u32, Page<Row>), always_1, short]
            .into_iter()
            .flat_map(|page| infos.map(|info| (page, info)))
        {
            let list = |whole: usize| {
                read(move |asked| {
                    let (number, answer) = if asked == WHOLE { (1, cut(1, 1000, whole)) } else { page(asked) };
                    Page { page: number, total_count: info.0, total_pages: info.1, ..answer }
                })
            };
            // A short page that comes again is the whole list, unless a total says otherwise.
            if page(1).1.rows.len() == 30 && info == (None, None) {
                continue;
            }
            let (rows, calls) = list(250).await;
            assert_eq!((rows.expect("a list"), calls), (Some(250), if page(1).0 == 0 { 2 } else { 3 }), "{info:?}");
            // What is cut as well is not believed.
            for cut in [0, 20, 100, 200] {
                assert!(list(cut).await.0.is_err(), "{cut} {info:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_null_list_is_empty_if_the_whole_one_is_too() {
        let null = |page| Page { null: true, ..cut(page, 100, 0) };
        for whole in [null(1), cut(1, 100, 0)] {
            let (list, calls) = read(|page| if page == WHOLE { whole.clone() } else { null(page) }).await;
            assert_eq!((list.expect("a list"), calls), (Some(0), 2));
        }
        for (rows, total) in [(30, None), (30, Some(31)), (0, Some(1)), (100, None)] {
            let whole = Page { total_count: total, ..cut(1, 1000, rows) };
            assert!(read(|page| if page == WHOLE { whole.clone() } else { null(page) }).await.0.is_err(), "{rows}");
        }
        // One that ends in null after a full page.
        for whole in [130, 99, 100, 0] {
            let (list, _) = read(|page| match page {
                WHOLE => cut(1, 1000, whole),
                1 => cut(1, 100, 130),
                page => null(page),
            })
            .await;
            assert_eq!(list.ok().flatten(), (whole == 130).then_some(130), "{whole}");
        }
    }

    #[tokio::test]
    async fn a_list_that_shifts_while_it_is_read_is_read_again() {
        for shift in [1, 30] {
            // So many new rows come first, after the first page was read for the first time.
            let mut calls = 0;
            let (list, _) = read(|page| {
                calls += 1;
                let all = rows(if calls == 1 { shift } else { 0 }, 250);
                let total_count = Some(all.len() as u64);
                let start = 100 * (page as usize - 1);
                let rows = all[start..(start + 100).min(all.len())].to_vec();
                Page { rows, total_count, total_pages: Some(3), ..cut(page, 100, 0) }
            })
            .await;
            assert_eq!(list.expect("a list"), Some(250));
        }
        // One comes first and the last one goes: the total, if any is told, is the same, a row came twice, and one never.
        for (total_count, total_pages) in [(Some(150), Some(2)), (None, None)] {
            let mut calls = 0;
            let (list, _) = read(|page| {
                calls += 1;
                let all: Vec<Row> = match calls {
                    1 => rows(0, 150),
                    _ => [Row("new".into())].into_iter().chain(rows(0, 149)).collect(),
                };
                let start = (100 * (page as usize - 1)).min(150);
                let rows = all[start..(start + 100).min(150)].to_vec();
                Page { rows, total_count, total_pages, ..cut(page, 100, 0) }
            })
            .await;
            assert_eq!((list.expect("a list"), calls), (Some(150), 4), "{total_count:?}");
        }
    }

    /// Page `page` of a list of 150 rows, whose order is another one at each call.
    fn shuffled(page: u32, calls: usize, total_count: Option<u64>) -> Page<Row> {
        let mut all = rows(0, 150);
        all.rotate_left(calls * 37 % 150);
        let start = (100 * (page as usize - 1)).min(150);
        Page { rows: all[start..(start + 100).min(150)].to_vec(), total_count, ..cut(page, 100, 0) }
    }

    #[tokio::test]
    async fn a_list_without_an_order_is_read_in_one_piece() {
        for total_count in [Some(150), None] {
            // What comes in one piece counts if nothing is missing that was seen.
            for (count, expected) in [(150, Some(150)), (149, None), (20, None)] {
                let mut calls = 0;
                let (list, calls) = read(|page| {
                    calls += 1;
                    let whole = Page { rows: rows(0, count), page: WHOLE, total_count, ..cut(1, 100, 0) };
                    if page == WHOLE { whole } else { shuffled(page, calls, total_count) }
                })
                .await;
                assert_eq!(list.expect("a list"), expected, "{total_count:?} {count}");
                assert!(calls <= 10, "{calls}");
            }
        }
    }

    #[tokio::test]
    async fn a_short_page_that_comes_again_is_the_whole_list_and_a_full_one_is_not() {
        let same = |page, count| Page { page, ..cut(1, 100, count) };
        let (list, calls) = read(|page| same(page, 30)).await;
        assert_eq!((list.expect("a list"), calls), (Some(30), 2));
        assert!(read(|page| same(page, 100)).await.0.is_err());
    }

    #[tokio::test]
    async fn a_wrong_total_of_pages_does_not_end_a_list_at_a_full_page() {
        for (total, calls) in [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)] {
            let list = read(|page| Page { total_pages: Some(total), ..cut(page, 100, 301) }).await;
            assert_eq!((list.0.expect("a list"), list.1), (Some(301), calls), "{total}");
        }
    }

    #[tokio::test]
    async fn a_full_last_page_and_an_empty_one_end_a_list() {
        assert_eq!(read(|page| cut(page, 100, 200)).await.0.expect("a list"), Some(200));
        let none = read(|page| Page { total_count: Some(0), total_pages: Some(0), ..cut(page, 100, 0) }).await;
        assert_eq!((none.0.expect("a list"), none.1), (Some(0), 1));
    }
}
