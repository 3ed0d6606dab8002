// exp and what is built on it, one vector at a time; the same steps for every instruction set.
// Polynomials: minimax fits (Remez) made for these intervals. Rounding to an integer is by adding
// 1.5 * 2^23. Results below the smallest normal float may be flushed to zero, except by `exp`.
//
// Largest error against float64, over every 29th float from -FLT_MAX to FLT_MAX, in units in the
// last place of the result (gelu: of x); tests/cpp/kernels/math_test.cpp bounds it.
//                  exp  sigmoid  tanh  softrelu  softsign  elu   selu  erf   gelu
//   SSE2           1.03   2.40   1.51    2.65      1.50   1.06  2.34  1.81  1.71
//   AVX2, AVX-512  1.04   2.40   1.50    2.65      1.50   0.96  2.26  1.61  1.62
// sigmoid is worst where it falls just below a power of two that exp(x) is just above.

FASTPROP_INLINE F abs(F x) { return (F)((I)x & 0x7FFFFFFF); }
FASTPROP_INLINE F minus_abs(F x) { return (F)((I)x | (-0x7FFFFFFF - 1)); }
FASTPROP_INLINE F copy_sign(F magnitude, F sign) {
  return (F)(((I)magnitude & 0x7FFFFFFF) | ((I)sign & (-0x7FFFFFFF - 1)));
}

// exp(x) = 2^n exp(r), |r| <= ln(2) / 2.
struct Reduced {
  I n;
  F r;
};

FASTPROP_INLINE Reduced reduce(F x) {
  const F shift = set1(12582912.0F);
  const F t = madd(x, set1(1.44269504F), shift);
  const F n = t - shift;
  // The first part of ln(2) has 9 bits, so that its product is exact without a fused multiply-add.
  F r = nmadd(n, set1(0.693359375F), x);
  r = nmadd(n, set1(-2.12194440e-4F), r);
  return {(I)t - (I)shift, r};
}

// exp(r) - 1. The two halves of the polynomial do not wait for each other.
FASTPROP_INLINE F exp_minus_one(F r) {
  const F u = r * r;
  const F low = madd(set1(0.166665211F), r, set1(0.5F));
  F high = madd(set1(0.00836887211F), r, set1(0.0416662171F));
  high = madd(set1(0.00139502704F), u, high);
  return madd(madd(high, u, low), u, r);
}

FASTPROP_INLINE F power_of_two(I n) { return (F)((n + 127) << 23); }

FASTPROP_INLINE F exp(F x) {
  const Reduced e = reduce(max(set1(-104.0F), min(set1(89.0F), x)));
  const I half = e.n >> 1;
  const F p = exp_minus_one(e.r) + set1(1.0F);
  return p * power_of_two(half) * power_of_two(e.n - half);
}

// For x <= 0; zero below -87.7, where 2^n leaves the normal numbers.
FASTPROP_INLINE F exp_of_negative(F x) {
  const Reduced e = reduce(max(set1(-88.0F), x));
  return (exp_minus_one(e.r) + set1(1.0F)) * power_of_two(e.n);
}

FASTPROP_INLINE F sigmoid(F x) {
  const F one = set1(1.0F);
  const F z = exp_of_negative(minus_abs(x));
  return select(lt(x, zero()), z, one) / (one + z);
}

FASTPROP_INLINE F tanh(F x) {
  const F one = set1(1.0F);
  const F a = abs(x);
  const F z = exp_of_negative(set1(-2.0F) * a);
  const F large = (one - z) / (one + z);
  const F u = x * x;
  F p = set1(-0.00638230052F);
  p = madd(p, u, set1(0.0211545303F));
  p = madd(p, u, set1(-0.0538745038F));
  p = madd(p, u, set1(0.133328259F));
  p = madd(p, u, set1(-0.333333254F));
  const F small = madd(p * u, a, a);
  return copy_sign(select(lt(a, set1(0.55F)), small, large), x);
}

// log(1 + z) for 0 <= z <= 1, as 2 atanh(z / (2 + z)).
FASTPROP_INLINE F log_one_plus(F z) {
  const F s = z / (set1(2.0F) + z);
  const F u = s * s;
  F p = set1(0.120423719F);
  p = madd(p, u, set1(0.107446939F));
  p = madd(p, u, set1(0.143053487F));
  p = madd(p, u, set1(0.199995652F));
  p = madd(p, u, set1(0.333333373F));
  const F twice = s + s;
  return madd(p * u, twice, twice);
}

FASTPROP_INLINE F soft_relu(F x) {
  return max(zero(), x) + log_one_plus(exp_of_negative(minus_abs(x)));
}

// exp(x) - 1 for x <= 0.
FASTPROP_INLINE F exp_minus_one_of_negative(F x) {
  const Reduced e = reduce(max(set1(-88.0F), x));
  const F scale = power_of_two(e.n);
  return madd(exp_minus_one(e.r), scale, scale - set1(1.0F));
}

FASTPROP_INLINE F erf(F x) {
  const F a = abs(x);
  const F u = x * x;
  F p = set1(8.40992361e-05F);
  p = madd(p, u, set1(-0.000815262902F));
  p = madd(p, u, set1(0.00520196045F));
  p = madd(p, u, set1(-0.0268597994F));
  p = madd(p, u, set1(0.112837031F));
  p = madd(p, u, set1(-0.376126349F));
  p = madd(p, u, set1(0.128379226F));
  const F small = madd(p, a, a);
  // 1 - exp(log(erfc(a)))
  const F b = min(set1(4.0F), a);
  F q = set1(-2.11618317e-05F);
  q = madd(q, b, set1(0.000435218069F));
  q = madd(q, b, set1(-0.00417463901F));
  q = madd(q, b, set1(0.025128616F));
  q = madd(q, b, set1(-0.108293936F));
  q = madd(q, b, set1(-0.633334637F));
  q = madd(q, b, set1(-1.12952077F));
  q = madd(q, b, set1(0.000175873472F));
  const F large = set1(1.0F) - exp_of_negative(q);
  return copy_sign(select(lt(a, set1(0.92F)), small, large), x);
}

// One struct per activation: what it keeps in registers, and f.
struct IdentityOp {
  explicit IdentityOp(const Activation&) {}
  FASTPROP_INLINE F operator()(F x) const { return x; }
};

struct ReluOp {
  explicit ReluOp(const Activation&) {}
  FASTPROP_INLINE F operator()(F x) const { return max(zero(), x); }
};

struct SigmoidOp {
  explicit SigmoidOp(const Activation&) {}
  FASTPROP_INLINE F operator()(F x) const { return sigmoid(x); }
};

struct TanhOp {
  explicit TanhOp(const Activation&) {}
  FASTPROP_INLINE F operator()(F x) const { return tanh(x); }
};

struct SoftReluOp {
  explicit SoftReluOp(const Activation&) {}
  FASTPROP_INLINE F operator()(F x) const { return soft_relu(x); }
};

struct SoftSignOp {
  explicit SoftSignOp(const Activation&) {}
  FASTPROP_INLINE F operator()(F x) const { return x / (set1(1.0F) + abs(x)); }
};

struct LeakyReluOp {
  explicit LeakyReluOp(const Activation& activation) : slope(set1(activation.alpha)) {}
  FASTPROP_INLINE F operator()(F x) const { return select(lt(zero(), x), x, slope * x); }
  F slope;
};

struct EluOp {
  explicit EluOp(const Activation& activation) : slope(set1(activation.alpha)) {}
  FASTPROP_INLINE F operator()(F x) const {
    return select(lt(zero(), x), x, slope * exp_minus_one_of_negative(min(zero(), x)));
  }
  F slope;
};

struct SeluOp {
  explicit SeluOp(const Activation&) {}
  FASTPROP_INLINE F operator()(F x) const {
    const F below = set1(1.67326324F) * exp_minus_one_of_negative(min(zero(), x));
    return set1(1.05070099F) * select(lt(zero(), x), x, below);
  }
};

struct GeluOp {
  explicit GeluOp(const Activation&) {}
  FASTPROP_INLINE F operator()(F x) const {
    return set1(0.5F) * x * (set1(1.0F) + erf(x * set1(0.707106781F)));
  }
};

struct HardSigmoidOp {
  explicit HardSigmoidOp(const Activation& activation)
      : slope(set1(activation.alpha)), offset(set1(activation.beta)) {}
  FASTPROP_INLINE F operator()(F x) const {
    return min(set1(1.0F), max(zero(), madd(slope, x, offset)));
  }
  F slope;
  F offset;
};

struct ExpOp {
  explicit ExpOp(const Activation&) {}
  FASTPROP_INLINE F operator()(F x) const { return exp(x); }
};

struct ErfOp {
  explicit ErfOp(const Activation&) {}
  FASTPROP_INLINE F operator()(F x) const { return erf(x); }
};

template <class Op>
void map(const Op& op, const float* in, std::size_t n, float* out) {
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, op(load(in + i)));
  if (i < n) {
    const Tail rest = tail(n - i);
    store(out + i, op(load(in + i, rest)), rest);
  }
}

inline constexpr std::size_t kLineFloats = 16;

// As `map`, writing whole cache lines past the caches. `out` is not `in`.
template <class Op>
void map_streaming(const Op& op, const float* in, std::size_t n, float* out) {
  const std::size_t misaligned =
      (reinterpret_cast<std::uintptr_t>(out) / sizeof(float)) % kLineFloats;
  std::size_t head = misaligned == 0 ? 0 : kLineFloats - misaligned;
  if (head > n) head = n;
  map(op, in, head, out);
  std::size_t i = head;
  for (; i + kLineFloats <= n; i += kLineFloats) {
    FASTPROP_UNROLL
    for (std::size_t j = 0; j < kLineFloats; j += kLanes) stream(out + i + j, op(load(in + i + j)));
  }
  map(op, in + i, n - i, out + i);
}

template <class Op>
void apply(const Activation& activation, const float* in, std::size_t n, float* out,
           bool streaming) {
  const Op op(activation);
  if (streaming) {
    map_streaming(op, in, n, out);
  } else {
    map(op, in, n, out);
  }
}

void apply_prelu(const float* slopes, const float* in, std::size_t n, float* out) {
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const F x = load(in + i);
    store(out + i, select(lt(zero(), x), x, load(slopes + i) * x));
  }
  if (i < n) {
    const Tail rest = tail(n - i);
    const F x = load(in + i, rest);
    store(out + i, select(lt(zero(), x), x, load(slopes + i, rest) * x), rest);
  }
}

// `column` is the place of in[0] within the layer.
void apply_activation(const Activation& activation, const float* in, std::size_t n, float* out,
                      std::size_t column, bool streaming) {
  switch (activation.kind) {
    case ActivationKind::kIdentity:
      if (in != out) apply<IdentityOp>(activation, in, n, out, streaming);
      return;
    case ActivationKind::kRelu:
      return apply<ReluOp>(activation, in, n, out, streaming);
    case ActivationKind::kSigmoid:
      return apply<SigmoidOp>(activation, in, n, out, streaming);
    case ActivationKind::kTanh:
      return apply<TanhOp>(activation, in, n, out, streaming);
    case ActivationKind::kSoftRelu:
      return apply<SoftReluOp>(activation, in, n, out, streaming);
    case ActivationKind::kSoftSign:
      return apply<SoftSignOp>(activation, in, n, out, streaming);
    case ActivationKind::kLeakyRelu:
      return apply<LeakyReluOp>(activation, in, n, out, streaming);
    case ActivationKind::kPRelu:
      return apply_prelu(activation.slopes + column, in, n, out);
    case ActivationKind::kElu:
      return apply<EluOp>(activation, in, n, out, streaming);
    case ActivationKind::kSelu:
      return apply<SeluOp>(activation, in, n, out, streaming);
    case ActivationKind::kGelu:
      return apply<GeluOp>(activation, in, n, out, streaming);
    case ActivationKind::kHardSigmoid:
      return apply<HardSigmoidOp>(activation, in, n, out, streaming);
    case ActivationKind::kExp:
      return apply<ExpOp>(activation, in, n, out, streaming);
    case ActivationKind::kErf:
      return apply<ErfOp>(activation, in, n, out, streaming);
  }
}

void activate(const Activation& activation, const float* in, std::size_t n, float* out) noexcept {
  apply_activation(activation, in, n, out, 0, false);
}

void softmax_group(float* x, std::size_t n) {
  float highest = x[0];
  for (std::size_t i = 1; i < n; ++i) highest = x[i] > highest ? x[i] : highest;
  const F offset = set1(highest);
  float sum = 0.0F;
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(x + i, exp_of_negative(load(x + i) - offset));
  if (i < n) {
    const Tail rest = tail(n - i);
    store(x + i, exp_of_negative(load(x + i, rest) - offset), rest);
  }
  for (i = 0; i < n; ++i) sum += x[i];
  const F total = set1(sum);
  for (i = 0; i + kLanes <= n; i += kLanes) store(x + i, load(x + i) / total);
  if (i < n) {
    const Tail rest = tail(n - i);
    store(x + i, load(x + i, rest) / total, rest);
  }
}

void softmax(float* data, std::size_t stride, std::size_t n_rows, const std::int32_t* offsets,
             std::size_t n_groups) noexcept {
  for (std::size_t row = 0; row < n_rows; ++row, data += stride) {
    for (std::size_t group = 0; group < n_groups; ++group) {
      const auto begin = static_cast<std::size_t>(offsets[group]);
      const auto end = static_cast<std::size_t>(offsets[group + 1]);
      if (begin < end) softmax_group(data + begin, end - begin);
    }
  }
}
