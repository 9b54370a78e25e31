// manifest.json of an exported folder, as recog/export writes it.
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "images.h"

using nlohmann::json;

Manifest read_manifest(const std::string& folder) {
    const std::filesystem::path place(folder), file = place / "manifest.json";
    std::ifstream stream(file);
    if (!stream) throw Refused("folder " + folder + " is no export of recog: there is no " + file.string());
    Manifest found;
    try {
        const json all = json::parse(stream);
        if (all.at("format") != "onnx") {
            throw Refused("folder " + folder + " is an export to " + all.at("format").get<std::string>() +
                          "; this program reads those of recog export --format onnx");
        }
        // Only recog checks the hashes; a truncated file is found here, by its size.
        const auto whole = all.at("files").at("model.onnx").at("bytes").get<std::uintmax_t>();
        std::error_code error;
        if (std::filesystem::file_size(place / "model.onnx", error) != whole || error) {
            throw Refused((place / "model.onnx").string() + " is damaged: it has not the size that the manifest says");
        }
        const json& image = all.at("image");
        Rule& rule = found.rule;
        image.at("height").get_to(rule.height);
        image.at("width").get_to(rule.width);
        image.at("channels").get_to(rule.channels);
        image.at("fit").get_to(rule.fit);
        if (rule.fit == "ratio" || image.value("resample", "bilinear") != "bilinear") {
            throw Refused("folder " + folder + " is of a recipe with image.fit=ratio or image.resample=bicubic, which this program lacks");
        }
        image.at("ink").get_to(rule.ink);
        image.at("symbol").get_to(rule.symbol);
        for (const json& size : all.at("buckets")) rule.buckets.emplace_back(size.at(1).get<int>(), size.at(0).get<int>());
        if (rule.fit == "none" && rule.buckets.empty()) throw Refused(file.string() + " names no buckets");
        all.at("max_length").get_to(found.max_length);
        all.at("capacity").get_to(found.capacity);
        if (all.contains("calibration")) all.at("calibration").at("temperature").get_to(found.temperature);
        if (!(found.temperature > 0)) throw Refused(file.string() + " has a temperature that is none");
        all.at("vocabulary").at("tokens").get_to(found.tokens);
        all.at("vocabulary").at("separator").get_to(found.separator);
    } catch (const json::exception&) {
        throw Refused(file.string() + " is damaged, or was not written by recog export");
    }
    return found;
}
