// Names for the calls of port::Storage.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace holdfast::backend {

enum class StorageOp : std::uint8_t {
  make_directory,
  create,
  open,
  close,
  write_all,
  read_all,
  size,
  truncate,
  sync,
  rename,
  link_if_absent,
  remove,
  remove_directory,
  list,
  sync_directory,
};
constexpr std::size_t storage_op_count = 15;
constexpr std::array<std::string_view, storage_op_count> storage_op_names = {
    "make_directory", "create", "open",           "close",  "write_all",        "read_all", "size",           "truncate",
    "sync",           "rename", "link_if_absent", "remove", "remove_directory", "list",     "sync_directory",
};
constexpr std::string_view to_string(StorageOp op) { return storage_op_names[static_cast<std::size_t>(op)]; }

}  // namespace holdfast::backend
