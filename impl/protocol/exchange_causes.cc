#include "impl/protocol/exchange_causes.h"

#include <map>

#include "impl/core/mark.h"

namespace holdfast::protocol {

FailureMap causes_of(std::span<const FailureMap> exchanges) {
  const auto weight = [](const Error& error) {
    if (error.code == ErrorCode::timeout) return 2;
    return error.code == ErrorCode::peer_lost ? 1 : 0;
  };
  std::map<int, FailureMap> by_weight;
  for (const FailureMap& exchange : exchanges) {
    for (const FailureMap::Group& group : exchange.groups()) by_weight[weight(group.error)].merge(exchange);
  }
  if (by_weight.size() > 1) MARK("exchange.consequence_not_named");
  return by_weight.empty() ? FailureMap() : by_weight.begin()->second;
}

}  // namespace holdfast::protocol
