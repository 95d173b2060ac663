// What a property does with stored files behind the back of the library: look at them all, damage one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "impl/port/storage.h"

namespace holdfast::properties {

inline constexpr std::uint64_t stored_file_bytes_max = 64 << 20;

/// The paths of all files in `directory` and below it, ascending. Errors: the storage's.
Result<std::vector<std::string>> stored_files(port::Storage& storage, const std::string& directory, port::Deadline deadline);

/// Puts in the file's place one in which that bit is the other: bit 0 is the lowest of byte 0. Requires: it has so many bits. Errors: the storage's.
Status flip_stored_bit(port::Storage& storage, const std::string& path, std::uint64_t bit, port::Deadline deadline);

}  // namespace holdfast::properties
