#include "sim/trace.h"

#include <fmt/format.h>

namespace holdfast::sim {

std::string to_string(const Leak& leak) {
  std::string text = fmt::format("rank {}:", leak.rank);
  const auto add = [&](int count, const char* what) {
    if (count != 0) text += fmt::format(" {} {},", count, what);
  };
  add(leak.files_open, "files open");
  add(leak.streams, "streams");
  add(leak.events, "events");
  add(leak.buffers, "buffers");
  add(leak.tasks_unjoined, "tasks unjoined");
  text.pop_back();
  return text;
}

std::uint64_t fingerprint(const Trace& trace) {
  std::uint64_t hash = 0;
  const auto mix = [&](std::uint64_t value) { hash = (((hash << 5) | (hash >> 59)) ^ value) * 0x9e3779b97f4a7c15u; };
  const auto mix_text = [&](const std::string& text) {
    mix(text.size());
    for (const char c : text) mix(static_cast<unsigned char>(c));
  };
  for (const std::uint64_t count : {trace.event_hash, trace.events, trace.door_calls, trace.switches}) mix(count);
  mix(static_cast<std::uint64_t>(trace.virtual_ns));
  mix(trace.power_lost);
  mix(trace.stops);
  for (const Decision& d : trace.decisions) mix(static_cast<std::uint64_t>(d.kind) | std::uint64_t{d.n} << 4 | std::uint64_t{d.pick} << 36);
  for (const RankEnd& end : trace.ends) {
    mix(end.how);
    mix_text(end.what);
  }
  for (const std::uint32_t calls : trace.calls_by_rank) mix(calls);
  mix(trace.fired.size());
  for (const Traffic& t : trace.traffic) {
    for (const std::uint64_t count : {t.messages_sent, t.bytes_sent, t.messages_received, t.bytes_received}) mix(count);
  }
  for (const Leak& leak : trace.leaks) mix_text(to_string(leak));
  for (const std::string& misuse : trace.misuse) mix_text(misuse);
  mix_text(trace.deadlock);
  mix_text(trace.diverged);
  mix_text(trace.harness_error);
  return hash;
}

}  // namespace holdfast::sim
