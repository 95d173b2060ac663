// The state of a real job: from a model's layout file, scaled down, or from a safetensors file with its real bytes.
#pragma once

#include <cstdint>
#include <string>

#include "properties/gen/state_spec.h"

namespace holdfast::properties::gen {

/// The layout of a published model (properties/specs) on `ranks` ranks. Every tensor stays; dimensions shrink by a power of two each, at
/// least to 1: dimension 0 by 2^a, every other by 2^b, with a = b or a = b + 1, and a + b the largest that leaves `bytes_min` bytes of
/// tensors in all. Matrices are cut along dimension 0 over the ranks, vectors (norms, biases) and scalars are replicated; the byte value
/// "trainer" is added.
/// Errors: not_found, io_error, corrupt for a file that is no layout; invalid_argument for ranks < 1.
Result<StateSpec> read_layout_file(const std::string& path, int ranks, std::uint64_t bytes_min = 1 << 20);

struct FileState {
  StateSpec spec;
  WholeValues values;  ///< the file's real bytes
};

/// The tensors of a safetensors file, whole and unscaled, laid out over the ranks by the same rule.
/// Errors: as above; unsupported for a type that Holdfast cannot hold, or a file above 1 GiB (a simulated disk lies in memory).
Result<FileState> read_safetensors_state(const std::string& path, int ranks);

/// Version `version` of real values: version 1 is `values` itself, any other differs from it and from every other one in every byte
/// (version mod 251).
WholeValues changed(const WholeValues& values, std::uint64_t version);

/// A small file as text. Errors: not_found, io_error.
Result<std::string> read_text_file(const std::string& path);

}  // namespace holdfast::properties::gen
