#include "impl/backend/nccl/table.h"

#include "impl/backend/nccl/data_plane.h"
#include "impl/backend/nccl/library/library.h"

namespace holdfast::backend {
namespace {

template <typename Function>
void take(const NcclLibrary& library, std::string_view name, Function& function) {
  function = reinterpret_cast<Function>(library.function(name));
}

}  // namespace

Error nccl_error(const NcclTable& table, ncclResult_t code, ncclComm_t communicator, std::string_view call) {
  const char* const more = table.get_last_error == nullptr ? nullptr : table.get_last_error(communicator);
  const bool says_more = more != nullptr && *more != '\0';
  return error(ErrorCode::io_error, "{}: {}{}", call, table.get_error_string(code), says_more ? fmt::format(" ({})", more) : "");
}

std::shared_ptr<const NcclTable> nccl_table(const NcclLibrary& library) {
  const auto table = std::make_shared<NcclTable>();
  take(library, "ncclGetErrorString", table->get_error_string);
  take(library, "ncclGetLastError", table->get_last_error);
  take(library, "ncclGetUniqueId", table->get_unique_id);
  take(library, "ncclCommInitRankConfig", table->comm_init_rank_config);
  take(library, "ncclCommGetAsyncError", table->comm_get_async_error);
  take(library, "ncclCommAbort", table->comm_abort);
  take(library, "ncclGroupStart", table->group_start);
  take(library, "ncclGroupEnd", table->group_end);
  take(library, "ncclSend", table->send);
  take(library, "ncclRecv", table->receive);
  return table;
}

}  // namespace holdfast::backend
