#include "impl/plan/transfer_codec.h"

#include <limits>

namespace holdfast::plan {
namespace {

using Tensors = std::map<std::string, TransferTensor, std::less<>>;

void put_numbers(Encoder& out, const Dims& dims) {
  for (const std::int64_t number : dims) out.varint(static_cast<std::uint64_t>(number));
}

Result<Dims> take_numbers(Decoder& in, std::size_t count) {
  Dims dims(count, 0);
  for (std::int64_t& number : dims) {
    const std::uint64_t value = TRY(in.varint());
    if (value > std::numeric_limits<std::int64_t>::max()) return fail(ErrorCode::corrupt, "decode transfer: the number {} of a box", value);
    number = static_cast<std::int64_t>(value);
  }
  return dims;
}

void put_box(Encoder& out, const Box& box) {
  put_numbers(out, box.offset);
  put_numbers(out, box.size);
}

Result<Box> take_box(Decoder& in, std::size_t dims) {
  Box box;
  box.offset = TRY(take_numbers(in, dims));
  box.size = TRY(take_numbers(in, dims));
  return box;
}

Result<std::uint32_t> take_u32(Decoder& in, std::string_view what) {
  const std::uint64_t value = TRY(in.varint());
  if (value > std::numeric_limits<std::int32_t>::max()) return fail(ErrorCode::corrupt, "decode transfer: {} {}", what, value);
  return static_cast<std::uint32_t>(value);
}

void put_tensors(Encoder& out, const Tensors& tensors) {
  out.varint(tensors.size());
  for (const auto& [name, tensor] : tensors) {
    out.text(name);
    out.u8(static_cast<std::uint8_t>(tensor.dtype));
    out.varint(tensor.shape.size());
    put_numbers(out, tensor.shape);
    out.varint(tensor.boxes.size());
    for (const TransferBox& box : tensor.boxes) {
      out.u8(box.in_place ? 1 : 0);
      put_box(out, box.box);
    }
  }
}

Result<TransferTensor> take_tensor(Decoder& in) {
  TransferTensor tensor;
  const std::uint8_t code = TRY(in.u8());
  const auto dtype = dtype_from_code(code);
  if (!dtype) return fail(ErrorCode::corrupt, "decode transfer: dtype code {}", code);
  tensor.dtype = *dtype;
  const std::size_t dims = TRY(in.count(1));
  tensor.shape = TRY(take_numbers(in, dims));
  if (!checked_volume({tensor.shape.data(), dims}))
    return fail(ErrorCode::corrupt, "decode transfer: shape {}", to_string({tensor.shape.data(), dims}));
  tensor.boxes.resize(TRY(in.count(1 + 2 * dims)));
  for (TransferBox& box : tensor.boxes) {
    const std::uint8_t flags = TRY(in.u8());
    if (flags > 1) return fail(ErrorCode::corrupt, "decode transfer: flags {} of a box", flags);
    box.in_place = flags == 1;
    box.box = TRY(take_box(in, dims));
  }
  return tensor;
}

Result<Tensors> take_tensors(Decoder& in) {
  constexpr std::size_t tensor_bytes_min = 4;
  Tensors tensors;
  for (std::size_t left = TRY(in.count(tensor_bytes_min)); left > 0; --left) {
    std::string name = TRY(in.text());
    TransferTensor tensor = TRY(take_tensor(in));
    const auto [entry, is_new] = tensors.emplace(std::move(name), std::move(tensor));
    if (!is_new) return fail(ErrorCode::corrupt, "decode transfer: \"{}\" twice", entry->first);
  }
  return tensors;
}

Result<Move> take_move(Decoder& in, const TransferPlan& plan) {
  Move move;
  move.tensor = TRY(take_u32(in, "tensor"));
  move.source.value = static_cast<std::int32_t>(TRY(take_u32(in, "rank")));
  move.destination.value = static_cast<std::int32_t>(TRY(take_u32(in, "rank")));
  move.source_shard = TRY(take_u32(in, "shard"));
  move.destination_shard = TRY(take_u32(in, "shard"));
  move.bytes = TRY(in.varint());
  move.window = TRY(in.varint());
  move.box = TRY(take_box(in, TRY(in.count(2))));
  if (move.tensor < plan.tensors.size() && move.window < plan.windows) return move;
  return fail(ErrorCode::corrupt, "decode transfer: tensor {} of {} in window {} of {}", move.tensor, plan.tensors.size(), move.window,
              plan.windows);
}

}  // namespace

void encode(Encoder& out, const TransferOffer& offer) {
  put_tensors(out, offer.held);
  put_tensors(out, offer.wanted);
}

Result<TransferOffer> decode_transfer_offer(Decoder& in) {
  TransferOffer offer;
  offer.held = TRY(take_tensors(in));
  offer.wanted = TRY(take_tensors(in));
  return offer;
}

void encode(Encoder& out, const TransferPlan& plan) {
  out.varint(plan.windows);
  out.varint(plan.tensors.size());
  for (const std::string& name : plan.tensors) out.text(name);
  out.varint(plan.moves.size());
  for (const Move& move : plan.moves) {
    out.varint(move.tensor);
    out.varint(static_cast<std::uint64_t>(move.source.value));
    out.varint(static_cast<std::uint64_t>(move.destination.value));
    out.varint(move.source_shard);
    out.varint(move.destination_shard);
    out.varint(move.bytes);
    out.varint(move.window);
    out.varint(move.box.size.size());
    put_box(out, move.box);
  }
}

Result<TransferPlan> decode_transfer_plan(Decoder& in) {
  constexpr std::size_t move_bytes_min = 8;
  TransferPlan plan;
  plan.windows = TRY(in.varint());
  plan.tensors.resize(TRY(in.count(1)));
  for (std::string& name : plan.tensors) name = TRY(in.text());
  for (std::size_t left = TRY(in.count(move_bytes_min)); left > 0; --left) plan.moves.push_back(TRY(take_move(in, plan)));
  return plan;
}

}  // namespace holdfast::plan
