// Images as recog reads, adapts and fits them (recog/images, recog/reading/adapt.py): uint8, BGR or grey.
#pragma once

#include <opencv2/core.hpp>
#include <stdexcept>
#include <string>
#include <vector>

// How a recipe wants its images: `image` and `buckets` of manifest.json.
struct Rule {
    int height = 0, width = 0;
    std::string channels;  // bgr, rgb or grey
    std::string fit;       // pad, stretch, steps, none or thumbnail; others are refused
    std::string ink;       // of the training images, light or dark; empty: images are taken as they are
    double symbol = 0;     // height of their symbols; 0: any
    std::vector<cv::Size> buckets;  // canvases, for images that keep their size
};

// What we need of the manifest.json of an exported folder.
struct Manifest {
    Rule rule;
    int max_length = 0, capacity = 0;
    float temperature = 1;  // by which scores are divided before they are confidences
    std::vector<std::string> tokens;
    std::string separator;
};

// An image that cannot be used, and why.
struct Unreadable : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// A mistake of the user, in one line.
struct Refused : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// A canvas, the size of the image on it, and a note if the image was too large for all canvases.
struct Fitted {
    cv::Mat canvas;
    cv::Size size;
    std::string note;
};

// The manifest of a folder that `recog export --format onnx` wrote.
Manifest read_manifest(const std::string& folder);

// A file as BGR, upright, with white in place of transparency.
cv::Mat read_image(const std::string& file);

// The grey image, with the ink and the symbol height of the recipe's training images.
cv::Mat adapted(const cv::Mat& image, const Rule& rule);

// The image on the recipe's canvas.
Fitted fit(const cv::Mat& image, const Rule& rule);

// A grey image, made smaller if it does not fit: bit for bit Pillow's thumbnail(LANCZOS).
cv::Mat thumbnail(const cv::Mat& grey, cv::Size most);
