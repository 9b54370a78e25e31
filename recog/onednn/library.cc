// Convolutions and bidirectional LSTMs by oneDNN, as calls for XLA on CPUs.
//
// Arrays come as JAX has them: images [B, H, W, C], kernels [height, width, C / groups, D], sequences [T, B, D].
// Weights and their gradients are float32; all else is float32 or bfloat16. Products are in the type of the images or
// sequences, whatever the type of the result. oneDNN chooses the layout of weights; what differs is reordered and
// rounded. A plan, which is what oneDNN prepares for some sizes and types, is made once.

// First, so that a machine without oneDNN is told at once.
#include "oneapi/dnnl/dnnl.hpp"

#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace {

namespace ffi = xla::ffi;
using dnnl::memory;
using dnnl::prop_kind;
using memory_desc = dnnl::memory::desc;
using Array = ffi::AnyBuffer;
using Result = ffi::Result<ffi::AnyBuffer>;
using Sizes = ffi::Span<const int64_t>;
using Tag = memory::format_tag;
using Type = memory::data_type;

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

// Memory of a thread that grows as needed and is used again.
class Room {
 public:
  void* of(size_t bytes) {
    if (bytes > size_) {
      std::free(data_);
      const size_t size = (bytes + 63) / 64 * 64;
      data_ = std::aligned_alloc(64, size);
      size_ = data_ ? size : 0;
      if (!data_) throw std::bad_alloc();
    }
    return data_;
  }
  ~Room() { std::free(data_); }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

// Whether an argument is given, or is a result; to a sum oneDNN adds what it computes.
enum Role { kGiven, kResult, kSum };

// An argument of oneDNN: its layout here and the one that oneDNN wants.
struct Argument {
  int name;
  memory_desc here, wanted;
  Role role;
  dnnl::reorder reorder;

  bool fits() const { return here == wanted; }
};

class Plan {
 public:
  template <class Primitive, class Description>
  Plan(const Primitive& primitive, const Description& description, std::vector<Argument> arguments)
      : primitive_(primitive), scratchpad_(description.scratchpad_desc()), arguments_(std::move(arguments)) {
    for (Argument& each : arguments_) {
      if (each.fits()) continue;
      const memory_desc& from = each.role == kGiven ? each.here : each.wanted;
      const memory_desc& to = each.role == kGiven ? each.wanted : each.here;
      each.reorder = dnnl::reorder(dnnl::reorder::primitive_desc(engine(), from, engine(), to));
    }
  }

  void run(const std::vector<void*>& data) const {
    static thread_local std::vector<Room> rooms(16);
    static thread_local Room scratch;
    dnnl::stream stream(engine());
    std::unordered_map<int, memory> given;
    for (size_t i = 0; i < data.size(); ++i) {
      const Argument& each = arguments_[i];
      void* place = each.fits() ? data[i] : rooms[i].of(each.wanted.get_size());
      memory used(each.wanted, engine(), place);
      if (each.role == kSum) std::memset(place, 0, each.wanted.get_size());
      if (each.role == kGiven && !each.fits()) {
        memory here(each.here, engine(), data[i]);
        each.reorder.execute(stream, here, used);
      }
      given[each.name] = used;
    }
    given[DNNL_ARG_SCRATCHPAD] = memory(scratchpad_, engine(), scratch.of(scratchpad_.get_size()));
    primitive_.execute(stream, given);
    for (size_t i = 0; i < data.size(); ++i) {
      const Argument& each = arguments_[i];
      if (each.role == kGiven || each.fits()) continue;
      memory here(each.here, engine(), data[i]);
      each.reorder.execute(stream, given[each.name], here);
    }
    stream.wait();
  }

 private:
  dnnl::primitive primitive_;
  memory_desc scratchpad_;
  std::vector<Argument> arguments_;
};

using Key = std::vector<int64_t>;

// The plan for these sizes, which is made if there is none yet.
template <class Make>
const Plan& plan(const Key& key, const Make& make) {
  static std::map<Key, std::unique_ptr<const Plan>> plans;
  static std::mutex mutex;
  std::lock_guard<std::mutex> guard(mutex);
  std::unique_ptr<const Plan>& known = plans[key];
  if (!known) known = std::make_unique<const Plan>(make());
  return *known;
}

// Without this, oneDNN keeps one scratchpad for each thread, of the size of the plans made in that thread.
dnnl::primitive_attr attributes() {
  dnnl::primitive_attr made;
  made.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return made;
}

// What a primitive is described by. oneDNN 3 has no description of an operation apart from the primitive's.
template <class Primitive, class... Given>
typename Primitive::primitive_desc described(const Given&... given) {
#if DNNL_VERSION_MAJOR < 3
  return {typename Primitive::desc(given...), attributes(), engine()};
#else
  return {engine(), given..., attributes()};
#endif
}

template <class Primitive, class Forward, class... Given>
typename Primitive::primitive_desc described_after(const Forward& forward, const Given&... given) {
#if DNNL_VERSION_MAJOR < 3
  return {typename Primitive::desc(given...), attributes(), engine(), forward};
#else
  return {engine(), given..., forward, attributes()};
#endif
}

template <class Call>
ffi::Error without_exceptions(const Call& call) {
  try {
    call();
    return ffi::Error::Success();
  } catch (const std::exception& error) {
    return ffi::Error::Internal(std::string("oneDNN: ") + error.what());
  }
}

// What a convolution computes from which two of its arrays.
enum Kind : int64_t { kOutput, kInputGradient, kKernelGradient, kPacked };

Type type_of(const Array& array) {
  return array.element_type() == ffi::DataType::BF16 ? Type::bf16 : Type::f32;
}

struct Convolution {
  Type type;  // of the images
  memory::dims in, weights, out, strides, before, after;  // as in XLA

  static memory::dims dims(Sizes given) { return memory::dims(given.begin(), given.end()); }

  static memory_desc image(const memory::dims& d, Type of, Tag tag) { return {{d[0], d[3], d[1], d[2]}, of, tag}; }
  memory_desc input(Tag tag = Tag::nhwc) const { return image(in, type, tag); }
  memory_desc output(Type of, Tag tag = Tag::nhwc) const { return image(out, of, tag); }

  // A kernel that reads fewer channels than there are is one of groups of channels.
  memory_desc kernel(Type of, bool any) const {
    const memory::dims& d = weights;
    const int64_t groups = in[3] / d[2];
    if (groups == 1) return {{d[3], d[2], d[0], d[1]}, of, any ? Tag::any : Tag::hwio};
    return {{groups, d[3] / groups, d[2], d[0], d[1]}, of, any ? Tag::any : Tag::hwigo};
  }

  memory_desc here() const { return kernel(Type::f32, false); }

  // Whether Winograd's algorithm pays. A convolution of 3 x 3 takes it half the time, if its tiles of up to 4 x 4
  // pixels are not mostly padding, and if there are enough of them for its transformed kernel, which is up to four
  // times as large, and which each call transforms where it is not packed.
  bool winograd_pays(bool is_packed) const {
    const int64_t pixels = in[0] * in[1] * in[2], channels = in[3];
    return type == Type::f32 && weights[0] == 3 && weights[1] == 3 && weights[2] == channels &&
           strides == memory::dims{1, 1} && before == memory::dims{1, 1} && after == memory::dims{1, 1} &&
           in[1] > 2 && in[2] > 2 && (is_packed ? 4 * pixels >= channels : pixels >= 2 * channels);
  }

  // A primitive by the fastest algorithm that oneDNN has here, with images in the layout that this wants.
  template <class Make>
  auto fastest(bool is_packed, const Make& make) const {
    if (winograd_pays(is_packed)) {
      try {
        return make(dnnl::algorithm::convolution_winograd, Tag::any);
      } catch (const dnnl::error&) {  // not of this version, on this processor, or for so many channels
      }
    }
    return make(dnnl::algorithm::convolution_direct, Tag::nhwc);
  }

  dnnl::convolution_forward::primitive_desc forward(Type result, dnnl::algorithm algorithm, Tag tag,
                                                    prop_kind kind = prop_kind::forward_training) const {
    return described<dnnl::convolution_forward>(kind, algorithm, input(tag), kernel(type, true),
                                                output(result, tag), strides, before, after);
  }

  // Where gradients may follow, Winograd's algorithm transforms the kernel in each call, else it wants it transformed.
  dnnl::convolution_forward::primitive_desc forward(Type result, bool is_packed) const {
    const prop_kind kind = is_packed ? prop_kind::forward_inference : prop_kind::forward_training;
    return fastest(is_packed, [&](auto algorithm, Tag tag) { return forward(result, algorithm, tag, kind); });
  }

  // A kernel that was packed, for results of the type of the images; for others, it is reordered if it must be.
  memory_desc packed() const { return forward(type, true).weights_desc(); }

  Key key(int64_t kind, Type result) const {
    Key made{kind, static_cast<int64_t>(type), static_cast<int64_t>(result)};
    for (const memory::dims& sizes : {in, weights, strides, before, after})
      made.insert(made.end(), sizes.begin(), sizes.end());
    return made;
  }

  Plan output_plan(Type result, bool is_packed) const {
    auto made = forward(result, is_packed);
    return {dnnl::convolution_forward(made), made,
            {{DNNL_ARG_SRC, input(), made.src_desc(), kGiven, {}},
             {DNNL_ARG_WEIGHTS, is_packed ? packed() : here(), made.weights_desc(), kGiven, {}},
             {DNNL_ARG_DST, output(result), made.dst_desc(), kResult, {}}}};
  }

  Plan input_gradient_plan(Type result) const {
    using Backward = dnnl::convolution_backward_data;
    auto made = fastest(false, [&](auto algorithm, Tag tag) {
      return described_after<Backward>(forward(result, algorithm, tag), algorithm, input(tag), kernel(type, true),
                                       output(result, tag), strides, before, after);
    });
    return {Backward(made), made,
            {{DNNL_ARG_DIFF_SRC, input(), made.diff_src_desc(), kResult, {}},
             {DNNL_ARG_WEIGHTS, here(), made.weights_desc(), kGiven, {}},
             {DNNL_ARG_DIFF_DST, output(result), made.diff_dst_desc(), kGiven, {}}}};
  }

  Plan kernel_gradient_plan(Type result) const {
    using Backward = dnnl::convolution_backward_weights;
    auto made = fastest(false, [&](auto algorithm, Tag tag) {
      return described_after<Backward>(forward(result, algorithm, tag), algorithm, input(tag),
                                       kernel(Type::f32, true), output(result, tag), strides, before, after);
    });
    return {Backward(made), made,
            {{DNNL_ARG_SRC, input(), made.src_desc(), kGiven, {}},
             {DNNL_ARG_DIFF_WEIGHTS, here(), made.diff_weights_desc(), kResult, {}},
             {DNNL_ARG_DIFF_DST, output(result), made.diff_dst_desc(), kGiven, {}}}};
  }

  Plan plan(Kind kind, Type result) const {
    if (kind == kOutput) return output_plan(result, false);
    return kind == kInputGradient ? input_gradient_plan(result) : kernel_gradient_plan(result);
  }
};

Convolution convolution(const Array& x, Sizes weights, const Array& y, Sizes strides, Sizes before, Sizes after) {
  return {type_of(x), Convolution::dims(x.dimensions()), Convolution::dims(weights), Convolution::dims(y.dimensions()),
          Convolution::dims(strides), Convolution::dims(before), Convolution::dims(after)};
}

// In a convolution, the result takes the place of the array that it is or that it is the gradient of.
ffi::Error Convolve(Array first, Array second, Result result, int64_t kind, Sizes strides, Sizes before,
                       Sizes after) {
  return without_exceptions([&] {
    const Array &x = kind == kInputGradient ? *result : first;
    const Array &weights = kind == kKernelGradient ? *result : second;
    const Array &y = kind == kOutput ? *result : kind == kInputGradient ? first : second;
    const Convolution of = convolution(x, weights.dimensions(), y, strides, before, after);
    plan(of.key(kind, type_of(y)), [&] { return of.plan(static_cast<Kind>(kind), type_of(y)); })
        .run({x.untyped_data(), weights.untyped_data(), y.untyped_data()});
  });
}

// Weights in another layout and type, once for many calls.
void pack(const memory_desc& from, const Array& given, const memory_desc& to, const Array& result) {
  dnnl::stream stream(engine());
  memory here(from, engine(), given.untyped_data()), packed(to, engine(), result.untyped_data());
  dnnl::reorder(here, packed).execute(stream, here, packed);
  stream.wait();
}

// The kernel of a convolution of images [B, H, W, C] of sizes `x` to results of sizes `y`, in the layout that oneDNN
// wants.
ffi::Error PackKernel(Array kernel, Result packed, Sizes x, Sizes y, Sizes strides, Sizes before, Sizes after,
                      bool rounded) {
  return without_exceptions([&] {
    const Convolution of{rounded ? Type::bf16 : Type::f32, Convolution::dims(x), Convolution::dims(kernel.dimensions()),
                         Convolution::dims(y), Convolution::dims(strides), Convolution::dims(before),
                         Convolution::dims(after)};
    pack(of.here(), kernel, of.packed(), *packed);
  });
}

ffi::Error PackedConvolution(Array x, Array packed, Result y, Sizes kernel, Sizes strides, Sizes before, Sizes after) {
  return without_exceptions([&] {
    const Convolution of = convolution(x, kernel, *y, strides, before, after);
    plan(of.key(kPacked, type_of(*y)), [&] { return of.output_plan(type_of(*y), true); })
        .run({x.untyped_data(), packed.untyped_data(), y->untyped_data()});
  });
}

// The arrays of a bidirectional LSTM, [T, B, D] -> [T, B, 2 hidden], both directions of one layer.
struct Recurrence {
  int64_t steps, rows, width, hidden;
  Type type;  // of the sequences

  memory_desc sequence(int64_t features, Type of) const { return {{steps, rows, features}, of, Tag::tnc}; }
  memory_desc input(Type of) const { return sequence(width, of); }
  memory_desc output(Type of) const { return sequence(2 * hidden, of); }
  memory_desc input_kernel(Type of, Tag tag) const { return {{1, 2, width, 4, hidden}, of, tag}; }
  memory_desc hidden_kernel(Type of, Tag tag) const { return {{1, 2, hidden, 4, hidden}, of, tag}; }
  memory_desc bias() const { return {{1, 2, 4, hidden}, Type::f32, Tag::ldgo}; }

  dnnl::lstm_forward::primitive_desc forward(prop_kind kind = prop_kind::forward_training) const {
    const memory_desc none;
    return described<dnnl::lstm_forward>(
        kind, dnnl::rnn_direction::bidirectional_concat, input(type), none, none,
        input_kernel(type, Tag::any), hidden_kernel(type, Tag::any), bias(), output(type), none,
        none);
  }

  dnnl::lstm_backward::primitive_desc backward() const {
    const memory_desc none;
    return described_after<dnnl::lstm_backward>(
        forward(), prop_kind::backward, dnnl::rnn_direction::bidirectional_concat, input(type), none, none,
        input_kernel(type, Tag::any), hidden_kernel(type, Tag::any), bias(), output(type), none,
        none, input(Type::f32), none, none, input_kernel(Type::f32, Tag::any), hidden_kernel(Type::f32, Tag::any),
        bias(), output(Type::f32), none, none);
  }

  Plan forward_plan() const {
    auto made = forward();
    return {dnnl::lstm_forward(made), made, arguments(made, made.workspace_desc(), kResult)};
  }

  // Without gradients, and with weights in the layout that oneDNN wants.
  dnnl::lstm_forward::primitive_desc inference() const { return forward(prop_kind::forward_inference); }

  Plan packed_plan() const {
    auto made = inference();
    std::vector<Argument> all = arguments(made, made.workspace_desc(), kResult);
    all.pop_back();  // the workspace
    for (Argument& each : all)
      if (each.name == DNNL_ARG_WEIGHTS_LAYER || each.name == DNNL_ARG_WEIGHTS_ITER) each.here = each.wanted;
    return {dnnl::lstm_forward(made), made, std::move(all)};
  }

  Plan backward_plan() const {
    auto made = backward();
    std::vector<Argument> all = arguments(made, forward().workspace_desc(), kGiven);
    all.push_back({DNNL_ARG_DIFF_DST_LAYER, output(Type::f32), made.diff_dst_layer_desc(), kGiven, {}});
    all.push_back({DNNL_ARG_DIFF_SRC_LAYER, input(Type::f32), made.diff_src_layer_desc(), kResult, {}});
    all.push_back({DNNL_ARG_DIFF_WEIGHTS_LAYER, input_kernel(Type::f32, Tag::ldigo), made.diff_weights_layer_desc(),
                   kSum, {}});
    all.push_back({DNNL_ARG_DIFF_WEIGHTS_ITER, hidden_kernel(Type::f32, Tag::ldigo), made.diff_weights_iter_desc(),
                   kSum, {}});
    all.push_back({DNNL_ARG_DIFF_BIAS, bias(), made.diff_bias_desc(), kSum, {}});
    return {dnnl::lstm_backward(made), made, std::move(all)};
  }

  // What both passes have: the forward pass makes the output and what is kept, the backward pass is given them.
  template <class Description>
  std::vector<Argument> arguments(const Description& made, const memory_desc& kept, Role made_forward) const {
    return {{DNNL_ARG_SRC_LAYER, input(type), made.src_layer_desc(), kGiven, {}},
            {DNNL_ARG_WEIGHTS_LAYER, input_kernel(Type::f32, Tag::ldigo), made.weights_layer_desc(), kGiven, {}},
            {DNNL_ARG_WEIGHTS_ITER, hidden_kernel(Type::f32, Tag::ldigo), made.weights_iter_desc(), kGiven, {}},
            {DNNL_ARG_BIAS, bias(), made.bias_desc(), kGiven, {}},
            {DNNL_ARG_DST_LAYER, output(type), made.dst_layer_desc(), made_forward, {}},
            {DNNL_ARG_WORKSPACE, kept, kept, made_forward, {}}};
  }
};

Recurrence recurrence(const Array& x, const Array& hidden_kernel) {
  auto d = x.dimensions();
  return {d[0], d[1], d[2], hidden_kernel.dimensions()[1], type_of(x)};
}

Key key(const Recurrence& of, int64_t kind) {
  return {-1, kind, of.steps, of.rows, of.width, of.hidden, static_cast<int64_t>(of.type)};
}

ffi::Error LstmForward(Array x, Array input_kernel, Array hidden_kernel, Array bias, Result y, Result workspace) {
  return without_exceptions([&] {
    const Recurrence of = recurrence(x, hidden_kernel);
    plan(key(of, true), [&] { return of.forward_plan(); })
        .run({x.untyped_data(), input_kernel.untyped_data(), hidden_kernel.untyped_data(), bias.untyped_data(),
              y->untyped_data(), workspace->untyped_data()});
  });
}

// Both kernels of an LSTM over sequences of sizes `x`, in the layouts that oneDNN wants.
ffi::Error PackLstm(Array input_kernel, Array hidden_kernel, Result packed_input, Result packed_hidden, Sizes x,
                    bool rounded) {
  return without_exceptions([&] {
    const Recurrence of{x[0], x[1], x[2], hidden_kernel.dimensions()[1], rounded ? Type::bf16 : Type::f32};
    auto made = of.inference();
    pack(of.input_kernel(Type::f32, Tag::ldigo), input_kernel, made.weights_layer_desc(), *packed_input);
    pack(of.hidden_kernel(Type::f32, Tag::ldigo), hidden_kernel, made.weights_iter_desc(), *packed_hidden);
  });
}

ffi::Error PackedLstm(Array x, Array input_kernel, Array hidden_kernel, Array bias, Result y) {
  return without_exceptions([&] {
    auto d = x.dimensions();
    const Recurrence of{d[0], d[1], d[2], y->dimensions()[2] / 2, type_of(x)};
    plan(key(of, 2), [&] { return of.packed_plan(); })
        .run({x.untyped_data(), input_kernel.untyped_data(), hidden_kernel.untyped_data(), bias.untyped_data(),
              y->untyped_data()});
  });
}

ffi::Error LstmBackward(Array x, Array input_kernel, Array hidden_kernel, Array bias, Array y, Array workspace,
                        Array to_y, Result to_x, Result to_input_kernel, Result to_hidden_kernel, Result to_bias) {
  return without_exceptions([&] {
    const Recurrence of = recurrence(x, hidden_kernel);
    plan(key(of, false), [&] { return of.backward_plan(); })
        .run({x.untyped_data(), input_kernel.untyped_data(), hidden_kernel.untyped_data(), bias.untyped_data(),
              y.untyped_data(), workspace.untyped_data(), to_y.untyped_data(), to_x->untyped_data(),
              to_input_kernel->untyped_data(), to_hidden_kernel->untyped_data(), to_bias->untyped_data()});
  });
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(recog_convolution, Convolve,
                              ffi::Ffi::Bind()
                                  .Arg<Array>().Arg<Array>().Ret<Array>()
                                  .Attr<int64_t>("kind").Attr<Sizes>("strides").Attr<Sizes>("before")
                                  .Attr<Sizes>("after"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(recog_lstm_forward, LstmForward,
                              ffi::Ffi::Bind()
                                  .Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Ret<Array>().Ret<Array>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(recog_pack_kernel, PackKernel,
                              ffi::Ffi::Bind()
                                  .Arg<Array>().Ret<Array>().Attr<Sizes>("x").Attr<Sizes>("y").Attr<Sizes>("strides")
                                  .Attr<Sizes>("before").Attr<Sizes>("after").Attr<bool>("rounded"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(recog_packed_convolution, PackedConvolution,
                              ffi::Ffi::Bind()
                                  .Arg<Array>().Arg<Array>().Ret<Array>().Attr<Sizes>("kernel").Attr<Sizes>("strides")
                                  .Attr<Sizes>("before").Attr<Sizes>("after"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(recog_pack_lstm, PackLstm,
                              ffi::Ffi::Bind()
                                  .Arg<Array>().Arg<Array>().Ret<Array>().Ret<Array>().Attr<Sizes>("x")
                                  .Attr<bool>("rounded"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(recog_packed_lstm, PackedLstm,
                              ffi::Ffi::Bind()
                                  .Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Ret<Array>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(recog_lstm_backward, LstmBackward,
                              ffi::Ffi::Bind()
                                  .Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>()
                                  .Arg<Array>().Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>());

extern "C" {

// Bytes of what a forward pass keeps for the backward pass; 0 if oneDNN has no such LSTM here.
int64_t recog_lstm_workspace(int64_t steps, int64_t rows, int64_t width, int64_t hidden, bool rounded) {
  try {
    const Recurrence of{steps, rows, width, hidden, rounded ? Type::bf16 : Type::f32};
    of.backward();
    return static_cast<int64_t>(of.forward().workspace_desc().get_size());
  } catch (const std::exception&) {
    return 0;
  }
}

// Bytes of a packed kernel of a convolution; `sizes` are those of images [4], kernel [4] and results [4], strides,
// padding before and after [2 each].
int64_t recog_packed_kernel_bytes(const int64_t* sizes, bool rounded) {
  auto take = [&](int count) {
    memory::dims taken(sizes, sizes + count);
    sizes += count;
    return taken;
  };
  Convolution of{rounded ? Type::bf16 : Type::f32};
  for (memory::dims* each : {&of.in, &of.weights, &of.out}) *each = take(4);
  for (memory::dims* each : {&of.strides, &of.before, &of.after}) *each = take(2);
  try {
    return static_cast<int64_t>(of.packed().get_size());
  } catch (const std::exception&) {
    return 0;
  }
}

// Bytes of both packed kernels of an LSTM, of the input and of the hidden state.
void recog_packed_lstm_bytes(int64_t steps, int64_t rows, int64_t width, int64_t hidden, bool rounded,
                             int64_t* bytes) {
  try {
    auto made = Recurrence{steps, rows, width, hidden, rounded ? Type::bf16 : Type::f32}.inference();
    bytes[0] = static_cast<int64_t>(made.weights_layer_desc().get_size());
    bytes[1] = static_cast<int64_t>(made.weights_iter_desc().get_size());
  } catch (const std::exception&) {
    bytes[0] = bytes[1] = 0;
  }
}

// Version of oneDNN, as major * 10000 + minor * 100 + patch.
int recog_onednn_version() {
  const dnnl_version_t* version = dnnl_version();
  return version->major * 10000 + version->minor * 100 + version->patch;
}
}
