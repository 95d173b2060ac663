#include "impl/cli/contents.h"

#include "impl/cli/source_file.h"
#include "impl/cli/stored_metadata.h"

namespace holdfast::cli {
namespace {

class FileContents : public Contents {
 public:
  static Result<std::unique_ptr<Contents>> open(const std::string& path) {
    auto contents = std::make_unique<FileContents>(TRY(open_safetensors(path)));
    contents->name_ = path;
    for (const format::SafetensorsTensor& tensor : contents->file_.header.tensors) {
      const auto dtype = tensor.known_dtype();
      if (!dtype) return fail(ErrorCode::unsupported, "\"{}\": tensor \"{}\": unknown dtype {}", path, tensor.name, tensor.dtype);
      // Digests only read; blocks of memory, which loads fill as well, are writable.
      auto* data = const_cast<std::byte*>(contents->file_.data(tensor).data());
      const StridedBlock block = packed_block(data, tensor.shape, size_bytes(*dtype));
      contents->tensors_[tensor.name] = {*dtype, tensor.shape, tensor_digest(block, whole(tensor.shape), tensor.shape, *dtype)};
    }
    if (!contents->file_.header.metadata.empty()) {
      contents->metadata_ = encode_metadata(contents->file_.header.metadata);
      contents->values_[std::string(stored_metadata_name)] = {contents->metadata_.size(), block_digest(contents->metadata_)};
    }
    return std::unique_ptr<Contents>(std::move(contents));
  }
  explicit FileContents(SafetensorsFile file) : file_(std::move(file)) {}

  Result<Bytes> read_tensor(const std::string& name) override {
    for (const format::SafetensorsTensor& tensor : file_.header.tensors) {
      if (tensor.name == name) return to_bytes(file_.data(tensor));
    }
    return fail(ErrorCode::not_found, "\"{}\" holds no tensor \"{}\"", name_, name);
  }
  Result<Bytes> read_value(const std::string&) override { return metadata_; }

 private:
  SafetensorsFile file_;
  Bytes metadata_;
};

class CheckpointContents : public Contents {
 public:
  static Result<std::unique_ptr<Contents>> open(const Location& location, const Console& console) {
    auto contents = std::make_unique<CheckpointContents>(console);
    contents->folder_.emplace(TRY(OpenFolder::open(location, contents->progress_)));
    contents->name_ = TRY(choose(contents->checkpoints(), location, console));
    const format::Manifest manifest = TRY(contents->checkpoints().manifest(contents->name_));
    for (const auto& [name, record] : manifest.tensors) {
      contents->tensors_[name] = {record.metadata.dtype, record.metadata.shape, record.digest};
    }
    for (const auto& [name, record] : manifest.bytes) contents->values_[name] = {record.bytes, record.digest};
    return std::unique_ptr<Contents>(std::move(contents));
  }
  explicit CheckpointContents(const Console& console) : progress_(console, 0) {}

  Result<Bytes> read_tensor(const std::string& name) override {
    const Tensor& tensor = tensors_.at(name);
    Bytes bytes(static_cast<std::size_t>(whole(tensor.shape).volume()) * size_bytes(tensor.dtype));
    StateDict state;
    TRY(state.add(name, bytes.data(), tensor.dtype, tensor.shape, ReplicatedLayout{}, Rank{0}));
    TRY(load(state));
    return bytes;
  }

  Result<Bytes> read_value(const std::string& name) override {
    StateDict state;
    TRY(state.add_bytes(name, {}));
    TRY(load(state));
    return std::get<BytesEntry>(*state.find(name)).value;
  }

 private:
  Checkpoints& checkpoints() { return folder_->checkpoints(); }
  Status load(StateDict& state) {
    LoadOptions options;
    options.directory = name_;
    const auto loaded = checkpoints().load(state, options);
    if (!loaded) return fail(to_error(loaded.error()));
    return {};
  }

  Progress progress_;
  std::optional<OpenFolder> folder_;
};

}  // namespace

Result<std::unique_ptr<Contents>> open_contents(const std::string& path, const Console& console) {
  const Location location = TRY(locate(path));
  if (location.kind == PathKind::file) return FileContents::open(path);
  return CheckpointContents::open(location, console);
}

}  // namespace holdfast::cli
