//! Which of the undocumented behaviours hold, and how long does a change take?

use serde::{Deserialize, Serialize};

macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident { $first:ident, $($other:ident),+ })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { #[default] $first, $($other),+ }
    )+};
}

choices! {
    /// A share created with empty `recipients` or `resources`.
    EmptyCreate { Refused, Accepted }
    /// A second POST of an account or a resource that is already live in the share, the resource under whichever account.
    PostedAgain { Returned, Conflict, SecondRow }
    /// Adding an account whose row is disassociated.
    RecipientReturn { NewRow, Reused }
    /// `{}` or `organization_id` posted to an account share, and `[{}]` on create.
    Untargeted { Everyone, Refused }
    /// Error entries of a recipient that nobody asked for.
    Unasked { Hidden, Shown }
    /// The share list without `kind`.
    ListWithoutKind { Both, Sent }
    /// The filters of the share list: `ignored` shows all shares, received and deleted ones too.
    ListFilters { Applied, Ignored }
    /// A read of a share by an account that receives it.
    ReceivedRead { Shown, NotFound }
    /// A write on a share that is `deleting`.
    WriteWhileDeleting { Conflict, NotFound, Accepted }
    /// Deleted resources in `include_resources` and in the resource list without `status`.
    DeletedResources { Hidden, Shown }
    /// The resources of a share with `include_resources`: `left_out` also where there are some.
    IncludedResources { Shown, EmptyLeftOut, LeftOut }
    /// A GET of a deleted share.
    DeletedShare { NotFound, Shown }
    /// DELETE of the last resource of a share.
    LastResource { Kept, Deletable }
    /// Two live shares of one name in one account.
    SameName { Allowed, Conflict }
    /// An invalid credential, a missing one: 403/9109 and 400/9106, or 401/10000, or as a malformed one: 400/6003 with
    /// an `error_chain`, or 400/10000.
    BadCredential { Forbidden, Unauthorized, Malformed, BadRequest }
    /// How `meta` comes back; `normalized` drops nulls. (Keys are always in order.)
    MetaEcho { AsSent, Normalized }
    /// `page` in a query of a list: served, or every answer is page 1, or each page is one of another order.
    Paging { Served, FirstPage, Shuffled }
    /// `result_info` of a list.
    ListInfo { Shown, Absent }
    /// Arrays in a query: `a=x&a=y`, or `a=x,y`.
    QueryArrays { Repeated, Comma }
    /// A recipient that lacks the entitlement stays `associating`, or becomes `associated`
    /// and has an error entry all the same.
    NotEntitled { StaysAssociating, Associated }
    /// What `resource_id` in an error entry names.
    ErrorNames { SourceId, ShareResourceId }
    /// Who may make the calls of an organization.
    OrganizationCalls { Anybody, KeyOnly }
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    pub empty_create: EmptyCreate,
    pub live_recipient_again: PostedAgain,
    pub resource_again: PostedAgain,
    pub recipient_return: RecipientReturn,
    pub untargeted: Untargeted,
    pub errors_unasked: Unasked,
    pub list_without_kind: ListWithoutKind,
    pub received_read: ReceivedRead,
    pub write_while_deleting: WriteWhileDeleting,
    /// Does a share's `modified` move when its recipients or resources change?
    pub modified_moves: bool,
    pub deleted_resources: DeletedResources,
    pub included_resources: IncludedResources,
    pub deleted_share: DeletedShare,
    pub last_resource: LastResource,
    pub same_name: SameName,
    /// Are runs of blanks in a name kept as one?
    pub squeeze_names: bool,
    /// How many characters of a name are kept; `None` (in JSON `null`): all.
    pub cut_names: Option<usize>,
    /// How far behind the lists are.
    pub list_lag_ms: u64,
    /// How far behind GETs of single objects are.
    pub get_lag_ms: u64,
    pub bad_credential: BadCredential,
    pub meta_echo: MetaEcho,
    pub query_arrays: QueryArrays,
    pub paging: Paging,
    pub list_info: ListInfo,
    pub list_filters: ListFilters,
    /// How far the `Date` header is ahead of the times that objects carry; negative: behind.
    pub date_ahead_ms: i64,
    pub not_entitled: NotEntitled,
    pub error_names: ErrorNames,
    /// Does a refusal say by `source.pointer` which recipient or resource it means?
    pub error_pointer: bool,
    pub organization_calls: OrganizationCalls,
}

impl Default for Switches {
    fn default() -> Self {
        Switches {
            empty_create: Default::default(),
            live_recipient_again: Default::default(),
            resource_again: Default::default(),
            recipient_return: Default::default(),
            untargeted: Default::default(),
            errors_unasked: Default::default(),
            list_without_kind: Default::default(),
            received_read: Default::default(),
            write_while_deleting: Default::default(),
            modified_moves: false,
            deleted_resources: Default::default(),
            included_resources: Default::default(),
            deleted_share: Default::default(),
            last_resource: Default::default(),
            same_name: Default::default(),
            squeeze_names: false,
            cut_names: None,
            list_lag_ms: 0,
            get_lag_ms: 0,
            bad_credential: Default::default(),
            meta_echo: Default::default(),
            query_arrays: Default::default(),
            paging: Default::default(),
            list_info: Default::default(),
            list_filters: Default::default(),
            date_ahead_ms: 0,
            not_entitled: Default::default(),
            error_names: Default::default(),
            error_pointer: true,
            organization_calls: Default::default(),
        }
    }
}

/// How long each change takes; `None` (in JSON `null`) is never.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Delays {
    pub associate_ms: Option<u64>,
    pub disassociate_ms: Option<u64>,
    pub delete_share_ms: Option<u64>,
    pub delete_resource_ms: Option<u64>,
}

impl Default for Delays {
    fn default() -> Self {
        Delays {
            associate_ms: Some(100),
            disassociate_ms: Some(100),
            delete_share_ms: Some(100),
            delete_resource_ms: Some(100),
        }
    }
}
