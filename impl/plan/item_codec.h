// Lists of items on the wire (codec.h). A list is a varint count, then each item: a byte of flags (what is there, what equals the item before), then what
// the flags announce. A name that differs from the one before keeps up to 255 bytes of it; an equal one costs nothing. Dims are varints.
// Fields that an item of its type does not use (plan_values.h) are not sent. Decoding is total; errors: corrupt.
#pragma once

#include <span>
#include <vector>

#include "impl/core/encoding.h"
#include "impl/core/plan_values.h"

namespace holdfast::plan {

void put_items(Encoder& out, std::span<const WriteItem> items);
void put_items(Encoder& out, std::span<const ReadItem> items);
void put_items(Encoder& out, std::span<const WriteResult> items);

Result<std::vector<WriteItem>> take_write_items(Decoder& in);
Result<std::vector<ReadItem>> take_read_items(Decoder& in);
Result<std::vector<WriteResult>> take_write_results(Decoder& in);

}  // namespace holdfast::plan
