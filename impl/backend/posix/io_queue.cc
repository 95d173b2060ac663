#include "impl/backend/posix/io_queue.h"

#include <cerrno>

namespace holdfast::backend {

void CallQueue::start(const IoRequest& request, std::size_t tag) {
  const auto offset = static_cast<off_t>(request.offset);
  const ssize_t moved = request.kind == IoKind::read ? calls_->pread(request.fd, request.memory, request.bytes, offset)
                                                     : calls_->pwrite(request.fd, request.memory, request.bytes, offset);
  completion_ = {tag, moved < 0 ? -std::int64_t{errno} : moved};
}

}  // namespace holdfast::backend
