// Ends an attempt that nobody is to commit any more, whether its coordinator is dead or only slow.
#pragma once

#include <string>
#include <vector>

#include "impl/core/error.h"
#include "impl/port/storage.h"

namespace holdfast::protocol {

/// Makes given_up_mark (survey.h) where it is missing or damaged, durable on return; where it is there, its name may still need a sync of the root.
/// The file is written in `directory` first, an attempt's. Any number may do so at once. Where the storage links no files, or only such of one directory,
/// there is no mark.
Status keep_mark(port::Storage& storage, const std::string& directory, port::Deadline deadline);

/// Takes the commit name of an attempt without a commit record, durably and in one step: its coordinator, however late, cannot commit it any more.
/// Without that it could publish a record of files that are being swept, and retire what is whole. False: the coordinator was quicker, and the
/// attempt is committed. Any number may do so at once. Where the storage has no links a name cannot be taken without overwriting: nothing is done, and
/// true returned. Errors: no_space when the storage is full and given_up_mark is not there: nothing was removed then.
Result<bool> give_up(port::Storage& storage, const std::string& directory, port::Deadline deadline);

/// Removes an attempt that was given up. Its directory gets another name first, durably: were its taken name to go from where it is, its coordinator
/// could commit what is left of it before the directory goes. Where the storage cannot rename in one step, that gap is left.
Status remove_given_up(port::Storage& storage, const std::string& directory, port::Deadline deadline);

/// Removes what interrupted removals left: Survey::removed.
Status sweep_removed(port::Storage& storage, const std::vector<std::string>& removed, port::Deadline deadline);

}  // namespace holdfast::protocol
