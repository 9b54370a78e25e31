// Reads images with an exported model: recog_read FOLDER IMAGES... prints a line for each,
// `file TAB text TAB confidence`.
//
// FOLDER is what `recog export WORKDIR FOLDER --format onnx` wrote; OpenVINO runs it. The status is 0 if all
// images were read, 1 if some could not be, 2 if the folder is no such export. --fit CANVAS.png FOLDER IMAGE
// writes the image on its canvas instead, for inspection.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <opencv2/imgcodecs.hpp>
#include <openvino/openvino.hpp>

#include "images.h"

namespace {

// The last line that is not empty: OpenVINO's errors begin with places in its source code.
std::string last_line(std::string text) {
    text.erase(text.find_last_not_of(" \n") + 1);
    return text.substr(text.rfind('\n') + 1);
}

class Reader {
public:
    Reader(const std::string& folder, Manifest given) : manifest(std::move(given)) {
        const std::string file = folder + "/model.onnx";
        try {
            // Without the hint OpenVINO computes in bfloat16 where the processor can, and reads other texts.
            model = ov::Core().compile_model(file, "CPU", ov::hint::inference_precision(ov::element::f32));
        } catch (const ov::Exception& error) {
            throw Refused(file + " cannot be used by OpenVINO: " + last_line(error.what()));
        }
        request = model.create_infer_request();
    }

    // The text and its probability.
    std::pair<std::string, float> read(Fitted fitted) {
        const size_t height = fitted.canvas.rows, width = fitted.canvas.cols, channels = fitted.canvas.channels();
        int32_t size[] = {fitted.size.height, fitted.size.width}, longest = manifest.max_length;
        request.set_tensor("image", ov::Tensor(ov::element::u8, {1, height, width, channels}, fitted.canvas.data));
        request.set_tensor("size", ov::Tensor(ov::element::i32, {1, 2}, size));
        request.set_tensor("max_length", ov::Tensor(ov::element::i32, ov::Shape{}, &longest));
        request.infer();
        const ov::Tensor tokens = request.get_tensor("tokens");  // [1, N, L], the best text first, -1 after its end
        std::string text;
        for (size_t i = 0; i < tokens.get_shape()[2]; ++i) {
            const int32_t id = tokens.data<int32_t>()[i];
            if (id < 0) break;
            text += (i ? manifest.separator : "") + manifest.tokens.at(id);
        }
        return {text, std::exp(std::min(request.get_tensor("score").data<float>()[0], 0.0f) / manifest.temperature)};
    }

private:
    Manifest manifest;
    ov::CompiledModel model;
    ov::InferRequest request;
};

// The image on its canvas: unchanged for recipes of words; for recipes of formulas with the ink and the
// symbol height of their training images.
Fitted prepared(const std::string& file, const Rule& rule) {
    const cv::Mat image = read_image(file);
    return fit(rule.ink.empty() ? image : adapted(image, rule), rule);
}

int run(const std::string& folder, const std::vector<std::string>& files) {
    const Manifest manifest = read_manifest(folder);
    Reader reader(folder, manifest);
    size_t failed = 0;
    for (const std::string& file : files) {
        try {
            const Fitted fitted = prepared(file, manifest.rule);
            if (!fitted.note.empty()) std::fprintf(stderr, "recog_read: %s: %s\n", file.c_str(), fitted.note.c_str());
            const auto [text, confidence] = reader.read(fitted);
            std::printf("%s\t%s\t%.3f\n", file.c_str(), text.c_str(), confidence);
        } catch (const Unreadable& error) {
            std::fprintf(stderr, "recog_read: %s: %s\n", file.c_str(), error.what());
            ++failed;
        }
    }
    if (failed) std::fprintf(stderr, "recog_read: %zu of %zu images could not be read\n", failed, files.size());
    return failed ? 1 : 0;
}

}  // namespace

int main(int count, char** arguments) {
    const std::vector<std::string> given(arguments + 1, arguments + count);
    const bool only_fit = given.size() == 4 && given[0] == "--fit";
    if (given.size() < 2 || (given[0].rfind("--", 0) == 0 && !only_fit)) {
        std::fprintf(stderr, "recog_read: usage: recog_read FOLDER IMAGES...  or  recog_read --fit CANVAS.png FOLDER IMAGE\n");
        return 2;
    }
    try {
        if (!only_fit) return run(given[0], {given.begin() + 1, given.end()});
        cv::imwrite(given[1], prepared(given[3], read_manifest(given[2]).rule).canvas);
        return 0;
    } catch (const Refused& error) {
        std::fprintf(stderr, "recog_read: %s\n", error.what());
        return 2;
    } catch (const Unreadable& error) {
        std::fprintf(stderr, "recog_read: %s: %s\n", given.back().c_str(), error.what());
        return 1;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "recog_read: %s\n", last_line(error.what()).c_str());
        return 2;
    }
}
